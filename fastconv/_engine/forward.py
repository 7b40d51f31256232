"""Direct convolution of images (N, C, H, W), by one of three kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv._engine import packed, pieces
from fastconv._engine.planes import planes_of
from fastconv._geometry.conv import ConvGeometry
from fastconv._plan import declines_by_image, declines_packed
from fastconv.kernels import conv as kernels


def direct(
    where: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> None:
    """The convolution of arrays that are ready, written to y; sums up to `floor` are stored as `floor`."""

    def run(x: np.ndarray, geometry: ConvGeometry, y: np.ndarray) -> None:
        strides = geometry.taps, 1, len(geometry.windows)
        weights = Weights(weight, geometry.weight_rows, geometry.weight_terms, strides)
        convolve(where, x, weights, bias, floor, geometry, y)

    pieces.forward(run, x, geometry, y)


class Weights(NamedTuple):
    """Where the weights of a convolution lie: that of output channel oc and tap k at rows[oc] + terms[k] of `array`.

    Attributes:
        array: the weights.
        rows: (OC,) uint64.
        terms: (taps,) uint64.
        strides: the distances of output channels, of the kernel's taps, negative where those lie from last to first,
            and of input channels.
    """

    array: np.ndarray
    rows: np.ndarray
    terms: np.ndarray
    strides: tuple[int, int, int]


def convolve(
    where: str, x: np.ndarray, weights: Weights, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> None:
    """As `direct`, of weights that lie anywhere."""
    table = weights.array.reshape(-1), weights.rows, weights.terms
    groups, rows, columns = geometry.groups, geometry.rows, geometry.columns
    if not declines_packed(geometry, len(x)):
        packed.convolve(where, x, weights.array, weights.strides, bias, floor, geometry.by_pixel, y)
    elif not declines_by_image(geometry, len(x), x.itemsize):
        kernels.split_and_forward(
            x, rows.before, rows.stride, geometry.shifts, columns.stride, geometry.HP, *table, bias, floor,
            geometry.offsets, groups, geometry.WP, geometry.by_rows, y,
        )  # fmt: skip
    else:
        planes = planes_of(where, x, geometry).reshape(-1)
        image = geometry.C * geometry.plane
        kernels.forward(
            planes, *table, bias, floor, geometry.offsets, groups, image, geometry.WP, geometry.by_rows, y
        )  # fmt: skip
