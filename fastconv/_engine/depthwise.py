"""Depthwise convolution of images with channels last, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments import arrays
from fastconv._geometry.conv import ConvGeometry
from fastconv._plan import SHARDS
from fastconv.kernels import conv_gradients as gradients
from fastconv.kernels import depthwise as kernels
from fastconv.kernels import packing as moves


def _taps_first(weight: np.ndarray) -> np.ndarray:
    """Weights (C, KH, KW, 1) as (KH*KW, C)."""
    return np.ascontiguousarray(weight.reshape(len(weight), -1).T)


def forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> bool:
    """The convolution of x (N, H, W, C) with weight (C, KH, KW, 1), written to y; not where a weight is infinite."""
    if not np.isfinite(weight).all():
        return False  # the padding's zeros times infinity are NaN, as IEEE has it
    kernels.depthwise(x, geometry.rows.numbers, geometry.columns.numbers, _taps_first(weight), bias, floor, y)
    return True


def input_gradient(g: np.ndarray, weight: np.ndarray, geometry: ConvGeometry, grad: np.ndarray) -> None:
    """The gradient of x (N, H, W, C), written to grad, for stride 1."""
    conv, nothing = geometry.transposed.conv, np.zeros(geometry.C, g.dtype)
    turned = np.ascontiguousarray(_taps_first(weight)[::-1])
    kernels.depthwise(g, conv.rows.numbers, conv.columns.numbers, turned, nothing, g.dtype.type(-np.inf), grad)


def weight_gradient(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray | None:
    """The gradient of the weights (C, KH, KW, 1); None where it is not finite: zeros times infinity were left out."""
    reached = geometry.channels_last.unpadded.reach.begins_everywhere
    if not reached and not moves.all_finite.sized(g.size)(g.reshape(-1)):
        return None  # an infinite pixel that no tap reaches would not be seen in the sums
    taps = len(geometry.windows)
    parts = arrays.empty(where, (SHARDS, taps, geometry.C), g.dtype, "the shards of the weight gradient")
    kernels.depthwise_weight_gradient(g, x, geometry.rows.numbers, geometry.columns.numbers, parts)
    sums = np.empty((taps, geometry.C), g.dtype)
    gradients.add_parts.sized(parts.size)(parts.reshape(SHARDS, -1), sums.reshape(-1))
    if not np.isfinite(sums).all():
        return None
    return np.ascontiguousarray(sums.T).reshape(geometry.C, geometry.rows.kernel, geometry.columns.kernel, 1)
