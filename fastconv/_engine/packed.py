"""Convolution with packed weights; of images with channels last as they are, leaving out the taps in the padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _arrays
from fastconv._engine.planes import planes_of
from fastconv._geometry import ConvGeometry
from fastconv._plan import declines_ready, declines_unpadded
from fastconv._threads import get_num_threads
from fastconv.kernels import packed as kernels
from fastconv.kernels import planes as moves
from fastconv.kernels.shares import tile_blocks
from fastconv.kernels.tiles import VECTOR_BYTES


def convolve(
    where: str, x: np.ndarray, weight: np.ndarray, strides: tuple[int, int, int], bias: np.ndarray, floor: Any,
    geometry: ConvGeometry, y: np.ndarray, only_finite: bool = False,
) -> bool:  # fmt: skip
    """The convolution of x (N, C, H, W), or (N, H, W, C) where channels are last, written to y of the same order.

    The geometry has whole planes. The weights of the groups follow each other, those of output channels, of the taps of
    the kernel and of input channels are `strides` apart; taps lie from last to first where theirs is negative. Returns
    whether it was computed, which `only_finite` forbids for other weights.
    """
    row, window, channel = strides
    taps, channels = len(geometry.windows), geometry.C // geometry.groups
    start = -min(window, 0) * (taps - 1)
    outer, inner, inners = (window, channel, channels) if geometry.last else (channel, window, taps)
    table = start, row, outer, inner, inners
    unpadded = geometry.last and not declines_unpadded(geometry, len(x))
    flat, ready = weight.reshape(-1), unpadded or not declines_ready(geometry, len(x))
    if ready:
        flat, finite = _packed(where, flat, table, geometry)
        # the padding's zeros times infinity are NaN, as IEEE has it
        geometry = geometry.unpadded if unpadded and finite else geometry
    elif only_finite:
        finite = moves.all_finite.sized(flat.size)(flat)
    if only_finite and not finite:
        return False
    pixels = geometry.rows.out * geometry.columns.out
    y = y.reshape((len(y), pixels, geometry.OC) if geometry.last else (len(y), geometry.OC, pixels))
    kernels.forward_packed(
        planes_of(where, x, geometry).reshape(-1), geometry.C * geometry.plane, geometry.group, *geometry.areas, flat,
        *table, ready, bias, floor, geometry.groups, geometry.columns.out, get_num_threads(), geometry.last, y,
    )  # fmt: skip
    return True


def _packed(
    where: str, weight: np.ndarray, table: tuple[int, int, int, int, int], geometry: ConvGeometry
) -> tuple[np.ndarray, bool]:
    """The weights packed at once, for many pixels; and whether they are finite."""
    groups, per_group, lanes = geometry.groups, geometry.OC // geometry.groups, VECTOR_BYTES // weight.itemsize
    blocks, width = tile_blocks(per_group, lanes)
    shape = (groups, blocks, geometry.taps, width)
    packed = _arrays.empty(where, shape, weight.dtype, "the packed weights")
    finite = kernels.pack(weight, *table, groups, packed)
    return packed.reshape(-1), finite
