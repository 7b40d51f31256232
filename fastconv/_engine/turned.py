"""The gradient of the weights as a matrix product with vectors along the output channels, for which g is transposed."""

from __future__ import annotations

import numpy as np

from fastconv._arguments import arrays
from fastconv._engine.planes import planes_of
from fastconv._geometry.conv import ConvGeometry
from fastconv._plan import SHARDS, declines_sharded, turned_width
from fastconv.kernels import conv_gradients as gradients
from fastconv.kernels import packing as moves


def weight_gradient(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """The gradient of the weights, (OC, C/groups, KH*KW), or (OC, KH*KW, C/groups) where channels are last.

    Of g (N, OC, OH, OW) and x (N, C, H, W), or with channels last where they are; the geometry's planes are whole.
    """
    pixels = geometry.rows.out * geometry.columns.out
    g = g.reshape((len(g), pixels, geometry.OC) if geometry.last else (len(g), geometry.OC, pixels))
    return (_in_blocks if declines_sharded(geometry) else _sharded)(where, g, x, geometry)


def _sharded(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Summed in shards of the batch, for few weights; the terms in the order of the geometry's offsets."""
    groups, per_group, K = geometry.groups, geometry.OC // geometry.groups, geometry.taps
    sums, grad = np.empty((groups, K, per_group), g.dtype), np.empty((groups, per_group, K), g.dtype)
    parts = arrays.empty(where, (SHARDS, *sums.shape), g.dtype, "the shards of the weight gradient")
    gradients.weight_gradient_sharded(
        g, geometry.last, planes_of(where, x, geometry), geometry.offsets, geometry.pixels, geometry.group,
        turned_width(per_group), parts,
    )  # fmt: skip
    gradients.add_parts.sized(parts.size)(parts.reshape(SHARDS, -1), sums.reshape(-1))
    moves.transposed.sized(grad.size)(sums, grad)
    return grad


def _in_blocks(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Summed in blocks of terms, in the order of the geometry's offsets."""
    groups, per_group = geometry.groups, geometry.OC // geometry.groups
    width = turned_width(per_group)
    cells = -(-per_group // width) * geometry.rows.out * geometry.columns.out * width
    turned = arrays.empty(where, (len(g), groups, cells), g.dtype, "the transposed gradient")
    moves.turn_gradient(g, geometry.last, groups, width, turned.reshape(-1))
    grad = arrays.empty(where, (groups, per_group, geometry.taps), g.dtype, "the gradient of the weights")
    gradients.weight_gradient_turned(
        turned, planes_of(where, x, geometry).reshape(-1), geometry.C * geometry.plane, geometry.group,
        geometry.offsets, geometry.pixels, width, grad,
    )  # fmt: skip
    return grad
