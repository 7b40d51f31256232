"""The gradient of the weights as a matrix product with vectors along the output channels, for which g is transposed."""

from __future__ import annotations

import numpy as np

from fastconv import _arrays
from fastconv._engine.planes import planes_of
from fastconv._geometry import ConvGeometry
from fastconv._plan import SHARDS, declines_sharded, declines_unpadded, turned_width
from fastconv.kernels import conv_gradients as gradients
from fastconv.kernels import planes as moves


def weight_gradient(
    where: str, g: np.ndarray, g_last: bool, x: np.ndarray, geometry: ConvGeometry, taps_first: bool
) -> np.ndarray:
    """The gradient of the weights: (OC, KH*KW, C/groups) where the kernel's taps come first, or (OC, C/groups, KH*KW).

    Of g (N, OC, pixels), or (N, pixels, OC) with channels last, and x in the order of the geometry, whose planes are
    whole.
    """
    OC, channels, windows = geometry.OC, geometry.C // geometry.groups, len(geometry.windows)
    pixels = geometry.rows.out * geometry.columns.out
    g = g.reshape((len(g), pixels, OC) if g_last else (len(g), OC, pixels))
    if not declines_sharded(geometry):
        grad, first = _sharded(where, g, g_last, x, geometry), geometry.last
    else:
        grad, first = _in_blocks(where, g, g_last, x, geometry, taps_first)
    if first == taps_first:
        return grad
    outer, inner = (windows, channels) if first else (channels, windows)
    ordered = np.empty((OC, inner, outer), g.dtype)
    moves.transposed.sized(grad.size)(grad.reshape(OC, outer, inner), ordered)
    return ordered


def _sharded(where: str, g: np.ndarray, g_last: bool, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Summed in shards of the batch, for few weights; the terms in the order of the geometry's offsets."""
    groups, per_group, K = geometry.groups, geometry.OC // geometry.groups, geometry.taps
    sums, grad = np.empty((groups, K, per_group), g.dtype), np.empty((groups, per_group, K), g.dtype)
    parts = _arrays.empty(where, (SHARDS, *sums.shape), g.dtype, "the shards of the weight gradient")
    gradients.weight_gradient_sharded(
        g, g_last, planes_of(where, x, geometry), geometry.offsets, geometry.pixels, geometry.group,
        turned_width(per_group), parts,
    )  # fmt: skip
    gradients.add_parts.sized(parts.size)(parts.reshape(SHARDS, -1), sums.reshape(-1))
    moves.transposed.sized(grad.size)(sums, grad)
    return grad


def _in_blocks(
    where: str, g: np.ndarray, g_last: bool, x: np.ndarray, geometry: ConvGeometry, taps_first: bool
) -> tuple[np.ndarray, bool]:
    """Summed in blocks of terms; and whether the taps of the kernel come first, which they may where that is wanted."""
    groups, per_group = geometry.groups, geometry.OC // geometry.groups
    width = turned_width(per_group)
    cells = -(-per_group // width) * geometry.rows.out * geometry.columns.out * width
    turned = _arrays.empty(where, (len(g), groups, cells), g.dtype, "the transposed gradient")
    moves.turn_gradient(g, g_last, groups, width, turned.reshape(-1))
    grad = _arrays.empty(where, (groups, per_group, geometry.taps), g.dtype, "the gradient of the weights")
    bare = geometry.unpadded
    if taps_first and not declines_unpadded(bare) and len(bare.reach.runs) == len(bare.windows):
        # the padding's zeros times infinity are NaN, as IEEE has it, and every infinity of g is in some of the sums
        if _sum(where, turned, x, bare, bare.channel_offsets, width, grad):
            return grad, True
    _sum(where, turned, x, geometry, geometry.offsets, width, grad)
    return grad, geometry.last


def _sum(
    where: str, turned: np.ndarray, x: np.ndarray, geometry: ConvGeometry, offsets: np.ndarray, width: int,
    grad: np.ndarray,
) -> bool:  # fmt: skip
    reach = geometry.reach
    return gradients.weight_gradient_turned(
        turned, planes_of(where, x, geometry).reshape(-1), geometry.C * geometry.plane, geometry.group, offsets,
        reach.runs, reach.steps, geometry.columns.out, width, grad,
    )  # fmt: skip
