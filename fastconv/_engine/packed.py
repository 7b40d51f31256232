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
    pixels = geometry.rows.out * geometry.columns.out
    y = y.reshape((len(y), pixels, geometry.OC) if geometry.last else (len(y), geometry.OC, pixels))
    unpadded = geometry.last and not declines_unpadded(geometry, len(x))
    ready, flat = unpadded or not declines_ready(geometry, len(x)), weight.reshape(-1)
    store = _store(where, geometry, weight.dtype) if ready else np.empty((0, 0, 0, 0), weight.dtype)

    def run(geometry: ConvGeometry, only_finite: bool) -> bool:
        return kernels.forward_packed(
            planes_of(where, x, geometry).reshape(-1), geometry.C * geometry.plane, geometry.group, *geometry.areas,
            flat, *table, store, only_finite, bias, floor, geometry.groups, geometry.columns.out, get_num_threads(),
            geometry.last, y,
        )  # fmt: skip

    # the padding's zeros times infinity are NaN, as IEEE has it, so they may not be left out then
    if unpadded and run(geometry.unpadded, True):
        return True
    if only_finite and (unpadded or (not ready and not moves.all_finite.sized(flat.size)(flat))):
        return False
    return run(geometry, only_finite)


def _store(where: str, geometry: ConvGeometry, dtype: np.dtype) -> np.ndarray:
    """Where weights are packed once: (groups, blocks of output channels, taps, width of a block)."""
    blocks, width = tile_blocks(geometry.OC // geometry.groups, VECTOR_BYTES // dtype.itemsize)
    return _arrays.empty(where, (geometry.groups, blocks, geometry.taps, width), dtype, "the packed weights")
