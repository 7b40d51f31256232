"""Convolution with packed weights; of images with channels last as they are, leaving out the taps in the padding."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments import arrays
from fastconv._engine.planes import planes_of
from fastconv._geometry.conv import ConvGeometry
from fastconv._plan import declines_ready, declines_unpadded
from fastconv._runtime.threads import get_num_threads
from fastconv.kernels import conv_packed as kernels
from fastconv.kernels import packing as moves
from fastconv.kernels.blocking import tile_blocks
from fastconv.kernels.micro.vectors import VECTOR_BYTES


def convolve(
    where: str, x: np.ndarray, weight: np.ndarray, strides: tuple[int, int, int], bias: np.ndarray, floor: Any,
    geometry: ConvGeometry, y: np.ndarray, only_finite: bool = False,
) -> bool:  # fmt: skip
    """The convolution of x (N, C, H, W), or (N, H, W, C) where channels are last, written to y of the same order.

    The geometry has whole planes. The weights of the groups follow each other, those of output channels, of the taps of
    the kernel and of input channels are `strides` apart; taps lie from last to first where theirs is negative. Returns
    whether it was computed, which `only_finite` forbids for other weights.
    """
    call = _prepared(geometry, len(x), strides, weight.itemsize)
    y, flat = y.reshape(len(y), *call.pixels), weight.reshape(-1)
    store = arrays.empty(where, call.store, weight.dtype, "the packed weights")

    def run(images: np.ndarray, places: tuple[Any, ...], only_finite: bool) -> bool:
        return kernels.forward_packed(
            images.reshape(-1), *places, flat, *call.table, store, only_finite, bias, floor, geometry.groups,
            geometry.columns.out, get_num_threads(), geometry.last, y,
        )  # fmt: skip

    # the padding's zeros times infinity are NaN, as IEEE has it, so they may not be left out then
    if call.unpadded and run(x, call.unpadded, True):
        return True
    if only_finite and (call.unpadded or not (store.size or moves.all_finite.sized(flat.size)(flat))):
        return False
    return run(planes_of(where, x, geometry), _places(geometry), only_finite)


class _Prepared(NamedTuple):
    """What `forward_packed` takes, as far as the sizes tell.

    Attributes:
        table: where the weights lie.
        store: the shape of the weights that are packed once: (groups, blocks of output channels, taps, width of a
            block), or without any.
        pixels: the shape of the results of an image.
        unpadded: where pixels and terms lie in images as they are; empty where these meet their padding, in a copy.
    """

    table: tuple[int, int, int, int, int]
    store: tuple[int, int, int, int]
    pixels: tuple[int, int]
    unpadded: tuple[Any, ...]


@functools.lru_cache(maxsize=1024)
def _prepared(geometry: ConvGeometry, N: int, strides: tuple[int, int, int], itemsize: int) -> _Prepared:
    row, window, channel = strides
    taps, channels = len(geometry.windows), geometry.C // geometry.groups
    start = -min(window, 0) * (taps - 1)
    outer, inner, inners = (window, channel, channels) if geometry.last else (channel, window, taps)
    unpadded = geometry.last and not declines_unpadded(geometry, N)
    store = 0, 0, 0, 0
    if unpadded or not declines_ready(geometry, N):
        blocks, width = tile_blocks(geometry.OC // geometry.groups, VECTOR_BYTES // itemsize)
        store = geometry.groups, blocks, geometry.taps, width
    P = geometry.rows.out * geometry.columns.out
    pixels = (P, geometry.OC) if geometry.last else (geometry.OC, P)
    return _Prepared((start, row, outer, inner, inners), store, pixels, _places(geometry.unpadded) if unpadded else ())


def _places(geometry: ConvGeometry) -> tuple[Any, ...]:
    """The distances of images and of groups, and the areas of pixels."""
    return geometry.C * geometry.plane, geometry.group, *geometry.areas
