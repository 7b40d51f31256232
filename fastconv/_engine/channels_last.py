"""Convolution of images with channels last: in that order where it fills the vectors, moved to NCHW where not."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._engine import depthwise, packed, pieces, turned
from fastconv._engine.input_gradient import input_gradient
from fastconv._engine.weight_gradient import weight_gradient
from fastconv._geometry.conv import ConvGeometry
from fastconv._plan import (
    SHARDS,
    declines_depthwise,
    declines_gathered,
    declines_in_place,
    declines_last,
    declines_turned,
)
from fastconv._runtime.threads import get_num_threads
from fastconv.kernels import conv_gradients as kernels
from fastconv.kernels import conv_nhwc_weight_gradient
from fastconv.kernels import packing as moves


def first(where: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A view (N, C, H, W), of an array in any order, as kernels take it."""
    if array.dtype != dtype or array.flags.c_contiguous:
        return ready(array, dtype)
    N, C, H, W = array.shape
    last = ready(array.transpose(0, 2, 3, 1), dtype)
    result = arrays.empty(where, array.shape, dtype, "the input in NCHW order")
    moves.transposed.sized(array.size)(last.reshape(N, H * W, C), result.reshape(N, C, H * W))
    return result


def put(array: np.ndarray, layout: str, y: np.ndarray) -> None:
    """Write an array (N, C, H, W) to y, which is of that size in `layout`, or without the batch of one."""
    N, C, H, W = array.shape
    if layout == "NHWC" and array.dtype == y.dtype:
        moves.transposed.sized(array.size)(array.reshape(N, C, H * W), y.reshape(N, H * W, C))
    else:
        y[...] = arrays.channels_as(array, layout).reshape(y.shape)


def forward(
    where: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> None:
    """The convolution of x (N, H, W, C) with weight (OC, KH, KW, C/groups), written to y (N, OH, OW, OC)."""

    def run(x: np.ndarray, geometry: ConvGeometry, y: np.ndarray) -> None:
        if not declines_depthwise(geometry) and depthwise.forward(x, weight, bias, floor, geometry, y):
            return
        strides = geometry.taps, geometry.C // geometry.groups, 1
        packed.convolve(where, x, weight, strides, bias, floor, geometry.channels_last, y)

    pieces.forward(run, x, geometry, y, last=True)


def gradients(
    where: str, g: np.ndarray, x: np.ndarray, weight: np.ndarray, geometry: ConvGeometry,
    needs: tuple[bool, bool, bool],
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    """The gradients of x (N, H, W, C), weight and bias, in the order of those, but not always laid out so."""
    want_x, want_weight, want_bias = needs
    if todo := pieces.pieces(geometry, len(g)):
        return _in_pieces(where, g, x, weight, todo, needs)
    ways, grad_x, grad_weight, grad_bias = _ways(geometry), None, None, None
    if want_x and ways.by_channel and geometry.phases == 1:
        grad_x = arrays.empty(where, x.shape, g.dtype, "grad_x")
        depthwise.input_gradient(g, weight, geometry, grad_x)
    elif want_x:
        grad_x = _input_gradient(where, g, weight, geometry) if ways.convolved else None
        if grad_x is None:
            ordered = arrays.empty(where, arrays.shape_from(x.shape, "NHWC"), g.dtype, "grad_x")
            kernel = ready(weight.transpose(0, 3, 1, 2), g.dtype)
            input_gradient(where, first(where, g.transpose(0, 3, 1, 2), g.dtype), kernel, geometry, ordered)
            grad_x = ordered.transpose(0, 2, 3, 1)
    if want_weight:
        grad_weight = depthwise.weight_gradient(where, g, x, geometry) if ways.by_channel else None
        if grad_weight is None and ways.turned:
            grad_weight = _weight_gradient(where, g, x, geometry, ways.in_place)
        if grad_weight is not None:
            grad_weight = grad_weight.reshape(weight.shape)
        else:
            g_first, x_first = (first(where, a.transpose(0, 3, 1, 2), g.dtype) for a in (g, x))
            shape = arrays.shape_from(weight.shape, "NHWC")
            grad_weight = weight_gradient(where, g_first, x_first, shape, geometry).transpose(0, 2, 3, 1)
    if want_bias:
        grad_bias = _bias_gradient(g)
    return grad_x, grad_weight, grad_bias


def _in_pieces(
    where: str, g: np.ndarray, x: np.ndarray, weight: np.ndarray, todo: list[pieces.Piece],
    needs: tuple[bool, bool, bool],
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    want_x, want_weight, want_bias = needs
    total_x = np.zeros(x.shape, g.dtype) if want_x else None
    total = np.zeros(weight.shape, g.dtype) if want_weight else None
    for piece in todo:
        inputs, outputs = pieces.at(piece.inputs, last=True), pieces.at(piece.outputs, last=True)
        parts = ready(g[outputs], g.dtype), ready(x[inputs], x.dtype)
        grad_x, grad_weight, _ = gradients(where, *parts, weight, piece.geometry, (want_x, want_weight, False))
        if total_x is not None:
            total_x[inputs] += grad_x
        if total is not None:
            total += grad_weight
    return total_x, total, _bias_gradient(g) if want_bias else None


class _Ways(NamedTuple):
    """What computes the gradients of a convolution, as far as its geometry tells."""

    by_channel: bool  # channel by channel
    convolved: bool  # of the input: a convolution with channels last
    turned: bool  # of the weights: with vectors along channels, not as dot products
    in_place: bool  # and where g lies


@functools.lru_cache(maxsize=1024)
def _ways(geometry: ConvGeometry) -> _Ways:
    convolved = geometry.phases == 1 and not declines_gathered(geometry) and not declines_last(geometry.transposed.conv)
    turned, in_place = not declines_turned(geometry), not declines_in_place(geometry)
    return _Ways(not declines_depthwise(geometry), convolved, turned, in_place)


def _input_gradient(where: str, g: np.ndarray, weight: np.ndarray, geometry: ConvGeometry) -> np.ndarray | None:
    """The gradient of x (N, H, W, C), for stride 1; None where weights are infinite: see `input_gradient`."""
    conv, nothing, lowest = geometry.transposed.conv.channels_last, np.zeros(geometry.C, g.dtype), g.dtype.type(-np.inf)
    grad = arrays.empty(where, (len(g), conv.rows.out, conv.columns.out, conv.OC), g.dtype, "grad_x")
    strides = 1, -(geometry.C // geometry.groups), geometry.taps
    done = packed.convolve(where, g, weight, strides, nothing, lowest, conv, grad, only_finite=True)
    return grad if done else None


def _weight_gradient(
    where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry, in_place: bool
) -> np.ndarray:  # fmt: skip
    """The gradient of the weights (OC, KH, KW, C/groups), from g (N, OH, OW, OC) and x (N, H, W, C)."""
    if in_place:
        reach, rows = geometry.by_pixel.unpadded.reach, geometry.rows.numbers
        shape = geometry.OC, len(geometry.windows), geometry.C // geometry.groups
        grad = arrays.empty(where, shape, g.dtype, "the gradient of the weights")
        # the padding's zeros times infinity are NaN, as IEEE has it
        if conv_nhwc_weight_gradient.weight_gradient_last(
            g, x, rows, reach.runs, reach.steps, geometry.groups, get_num_threads(), grad
        ):
            return grad
    return turned.weight_gradient(where, g, x, geometry.channels_last)


def _bias_gradient(g: np.ndarray) -> np.ndarray:
    """The gradient of the bias: the sum of each channel of g (N, OH, OW, OC)."""
    parts = np.empty((SHARDS, g.shape[3]))
    kernels.bias_gradient_last.sized(g.size)(g.reshape(-1, g.shape[3]), parts)
    return parts.sum(axis=0).astype(g.dtype)
