"""Convolution of images with channels last: in that order where it fills the vectors, moved to NCHW where not."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _arrays
from fastconv._arrays import ready
from fastconv._geometry import ConvGeometry
from fastconv._plan import SHARDS, declines_sharded, turned_width
from fastconv.kernels import conv as kernels
from fastconv.kernels import conv_gradients as gradients
from fastconv.kernels import planes as moves

# bytes: pixels so far apart share few sets of the L1 cache, which then does not hold those of a block (measured: 3.2
# against 2.3 ms for the gradient of 128 x 128 x 3 x 3 weights)
CACHE_STRIDE = 512


def planes_of(where: str, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """X (N, C, H, W) as the kernels read it: (N, C * cells of a plane), x itself where nothing has to move."""
    if geometry.in_place:
        return x.reshape(len(x), geometry.C * geometry.plane)
    vertical, horizontal = geometry.steps
    shape = (x.shape[0] * x.shape[1], vertical, len(geometry.shifts), geometry.HP, geometry.WP)
    planes = _arrays.empty(where, shape, x.dtype, "the padded input")
    flat = x.reshape(shape[0], *x.shape[2:])
    moves.split(flat, geometry.rows.before, vertical, geometry.shifts, horizontal, planes)
    return planes.reshape(len(x), geometry.C * geometry.plane)


def first(where: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A view (N, C, H, W), of an array in any order, as kernels take it."""
    if array.dtype != dtype or array.flags.c_contiguous:
        return ready(array, dtype)
    N, C, H, W = array.shape
    last = ready(np.moveaxis(array, 1, 3), dtype)
    result = _arrays.empty(where, array.shape, dtype, "the input in NCHW order")
    moves.transposed.sized(array.size)(last.reshape(N, H * W, C), result.reshape(N, C, H * W))
    return result


def put(array: np.ndarray, layout: str, y: np.ndarray) -> None:
    """Write an array (N, C, H, W) to y, which is of that size in `layout`, or without the batch of one."""
    N, C, H, W = array.shape
    if layout == "NHWC" and array.dtype == y.dtype:
        moves.transposed.sized(array.size)(array.reshape(N, C, H * W), y.reshape(N, H * W, C))
    else:
        y[...] = _arrays.channels_as(array, layout).reshape(y.shape)


def forward(
    where: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> None:
    """The convolution of x (N, H, W, C) with weight (OC, KH, KW, C/groups), written to y (N, OH, OW, OC)."""
    last = geometry.channels_last
    _convolve(where, x, weight, last.weight_rows, last.weight_terms, last.taps, bias, floor, last, y)


def input_gradient(where: str, g: np.ndarray, weight: np.ndarray, geometry: ConvGeometry, grad: np.ndarray) -> None:
    """The gradient of x (N, H, W, C), written to grad, for stride 1 and weights that are finite."""
    nothing, lowest = np.zeros(geometry.C, g.dtype), g.dtype.type(-np.inf)
    rows, terms = geometry.turned_last
    run = geometry.OC // geometry.groups
    _convolve(where, g, weight, rows, terms, run, nothing, lowest, geometry.transposed.conv.channels_last, grad)


def _convolve(
    where: str, x: np.ndarray, weight: np.ndarray, rows: np.ndarray, terms: np.ndarray, run: int, bias: np.ndarray,
    floor: Any, geometry: ConvGeometry, y: np.ndarray,
) -> None:  # fmt: skip
    kernels.forward_packed(
        _planes(where, x, geometry).reshape(-1), weight.reshape(-1), rows, terms, run, bias, floor, geometry.offsets,
        geometry.pixels, geometry.groups, geometry.C * geometry.plane, geometry.group, True,
        y.reshape(len(y), -1, geometry.OC),
    )  # fmt: skip


def weight_gradient(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """The gradient of the weights (OC, KH, KW, C/groups), from g (N, OH, OW, OC) and x (N, H, W, C)."""
    g = g.reshape(len(g), -1, geometry.OC)
    if geometry.C * x.itemsize % CACHE_STRIDE:
        planes = _planes(where, x, geometry.channels_last)
        return turned_weight_gradient(where, g, True, planes, geometry.channels_last)
    planes = planes_of(where, first(where, np.moveaxis(x, 3, 1), x.dtype), geometry.by_pixel)
    turned = turned_weight_gradient(where, g, True, planes, geometry.by_pixel)
    shape = geometry.OC, geometry.C // geometry.groups, len(geometry.windows)
    grad = np.empty((shape[0], shape[2], shape[1]), g.dtype)
    moves.transposed.sized(grad.size)(turned.reshape(shape), grad)
    return grad


def bias_gradient(g: np.ndarray) -> np.ndarray:
    """The gradient of the bias: the sum of each channel of g (N, OH, OW, OC)."""
    grad, sums = np.empty(g.shape[3], g.dtype), np.empty(g.shape[1:], g.dtype)
    gradients.add_parts.sized(g.size)(g.reshape(len(g), -1), sums.reshape(-1))
    gradients.add_parts.sized(sums.size)(sums.reshape(-1, g.shape[3]), grad)
    return grad


def turned_weight_gradient(
    where: str, g: np.ndarray, last: bool, planes: np.ndarray, geometry: ConvGeometry
) -> np.ndarray:
    """A matrix product with vectors along the output channels: (groups, OC/groups, taps).

    Of g (N, OC, pixels), which is transposed, or (N, pixels, OC) with channels last, and the planes of a geometry.
    """
    groups, per_group, K = geometry.groups, geometry.OC // geometry.groups, geometry.taps
    table = geometry.offsets, geometry.pixels, geometry.group
    grad = np.empty((groups, per_group, K), g.dtype)
    width = turned_width(per_group)
    if not declines_sharded(geometry):
        sums = np.empty((groups, K, per_group), g.dtype)
        parts = _arrays.empty(where, (SHARDS, *sums.shape), g.dtype, "the shards of the weight gradient")
        gradients.weight_gradient_sharded(g, last, planes, *table, width, parts)
        gradients.add_parts.sized(parts.size)(parts.reshape(SHARDS, -1), sums.reshape(-1))
        moves.transposed.sized(grad.size)(sums, grad)
    else:
        cells = -(-per_group // width) * len(geometry.pixels) * width
        turned = _arrays.empty(where, (len(g), groups, cells), g.dtype, "the transposed gradient")
        moves.turn_gradient(g, last, groups, width, turned.reshape(-1))
        gradients.weight_gradient_turned(turned, planes, *table, width, grad)
    return grad


def _planes(where: str, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """X (N, H, W, C) as the kernels read it: (N, cells of an image), x itself where there is no padding."""
    N, H, W, C = x.shape
    if geometry.in_place:
        return x.reshape(N, H * W * C)
    planes = _arrays.empty(where, (N, 1, 1, geometry.HP, geometry.WP * C), x.dtype, "the padded input")
    moves.split(x.reshape(N, H, W * C), geometry.rows.before, 1, geometry.shifts * C, 1, planes)
    return planes.reshape(N, geometry.HP * geometry.WP * C)
