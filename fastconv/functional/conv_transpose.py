"""Transposed convolution: what a convolution's gradients compute, with x and grad_output in each other's place."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.sizes import Int2, Padding, layout_argument
from fastconv._engine import calls
from fastconv._engine.calls import check_ranks, first
from fastconv._engine.weight_gradient import bias_gradient
from fastconv._geometry.conv_transpose import conv_transpose_geometry
from fastconv._runtime.backend import on_numpy
from fastconv._runtime.switches import winograd
from fastconv.functional.conv import gradients_as, needed

AXES = "C, OC/groups, KH, KW"


def conv_transpose2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, stride: Int2 = 1, padding: Padding = 0,
    output_padding: Int2 = 0, groups: int = 1, dilation: Int2 = 1, *, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Transposed convolution: every pixel of x adds the kernel, times its value, to the pixels of the result.

    It is the adjoint of `conv2d` with the same weight, stride, padding and dilation:
    y[n, oc, iy*s + ky*d - p, ix*s + kx*d - p] = bias[oc] + sum over c, iy, ky, ix, kx that reach this pixel of
    weight[c, oc, ky, kx] * x[n, c, iy, ix]

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `conv2d` takes, promoted as there.
        weight: (C, OC/groups, KH, KW).
        bias: (OC,) or None.
        stride: pixels of the result between the windows of neighbouring pixels of x.
        padding: pixels cut off at the result's edges, in any form that `conv2d` takes; with `"same"`,
            `"same_upper"` and `"same_lower"` the result is stride times as large as x.
        output_padding: rows and columns added to the result at the bottom and right, for sizes that the others cannot
            reach; smaller than the stride or the dilation.
        groups: as for `conv2d`.
        dilation: as for `conv2d`.
        layout: `"NHWC"` takes x (N, H, W, C) and weight (C, KH, KW, OC/groups) and gives (N, OH, OW, OC).
        out: the array that receives the result, as for `conv2d`.

    Returns:
        y, (N, OC, OH, OW) or (OC, OH, OW), OH = (H-1)*stride - pads + dilation*(KH-1) + output_padding + 1; `out`
        itself where it was given.

    Raises:
        ShapeError: shapes, stride, padding, output_padding, groups or dilation do not fit; a ValueError.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> x = np.array([[[[1.0, 2.0]]]])
        >>> conv_transpose2d(x, np.array([[[[1.0, 10.0, 100.0]]]]), stride=2)
        array([[[[  1.,  10., 102.,  20., 200.]]]])

    Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016), section 4; semantics
    of PyTorch's `conv_transpose2d`.
    """
    where = "conv_transpose2d"
    inputs = (x, weight, bias)
    dtype, x, weight, bias = _checked(where, x, weight, bias, layout)
    x, unbatched = arrays.batched(where, "x", x)
    geometry = conv_transpose_geometry(
        where, x.shape[1:], weight.shape, stride, padding, output_padding, groups, dilation
    )
    if bias is not None:
        arrays.same_shape(where, "bias", bias, (geometry.C,))
    shape = (len(x), geometry.C, geometry.rows.size, geometry.columns.size)
    y = arrays.result(where, arrays.shape_as(shape, layout)[int(unbatched) :], dtype, out, *inputs)
    compute = arrays.compute_dtype(dtype)
    straight = layout == "NCHW" and compute == dtype
    target = y.reshape(shape) if straight else arrays.empty(where, shape, compute)
    x, weight = first(where, x, compute), ready(weight, compute)
    bias = bias if bias is None else ready(bias, compute)
    if on_numpy():
        target[...] = reference.conv_transpose2d(
            x, weight, bias, stride, padding, output_padding, groups, dilation
        )  # fmt: skip
    elif target.size:
        own = calls.gradients(geometry, len(x), compute, False, winograd())
        calls.input_gradient(where, own, x, weight, bias, target)
    if not straight:
        calls.put(target, layout, y)
    return y if out is None else out


def conv_transpose2d_backward(
    grad_output: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Int2 = 1, padding: Padding = 0,
    output_padding: Int2 = 0, groups: int = 1, dilation: Int2 = 1, *, layout: str = "NCHW",
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The gradients of `conv_transpose2d` with respect to x, weight and bias.

    Args:
        grad_output: the gradient of the result, of the result's shape.
        x: as given to `conv_transpose2d`.
        weight: as given to `conv_transpose2d`.
        stride: as given to `conv_transpose2d`.
        padding: as given to `conv_transpose2d`.
        output_padding: as given to `conv_transpose2d`.
        groups: as given to `conv_transpose2d`.
        dilation: as given to `conv_transpose2d`.
        layout: as given to `conv_transpose2d`.
        needs: which of the three to compute; the others are None.

    Returns:
        (grad_x, grad_weight, grad_bias), of the shapes of x, weight and (OC,).

    Raises:
        ShapeError: grad_output does not have the result's shape, or as for `conv_transpose2d`.
        TypeError: as for `conv_transpose2d`.

    Example:
        >>> x, w = np.array([[[[1.0, 2.0]]]]), np.array([[[[1.0, 10.0, 100.0]]]])
        >>> conv_transpose2d_backward(np.ones((1, 1, 1, 5)), x, w, stride=2)[1]
        array([[[[3., 3., 3.]]]])

    Source: as for `conv_transpose2d`.
    """
    where = "conv_transpose2d_backward"
    want_x, want_weight, want_bias = needed(where, needs)
    dtype, x, weight, g = _checked(where, x, weight, grad_output, layout, "grad_output")
    x, unbatched = arrays.batched(where, "x", x)
    geometry = conv_transpose_geometry(
        where, x.shape[1:], weight.shape, stride, padding, output_padding, groups, dilation
    )
    shape = (len(x), geometry.C, geometry.rows.size, geometry.columns.size)
    arrays.same_shape(where, "grad_output", g, arrays.shape_as(shape, layout)[int(unbatched) :])
    compute = arrays.compute_dtype(dtype)
    g = arrays.channels_first(g, layout)
    g, x = (first(where, a, compute) for a in (g[None] if unbatched else g, x))
    weight = ready(weight, compute)
    grads: tuple[np.ndarray | None, ...]
    if on_numpy():
        grads = reference.conv_transpose2d_backward(
            g, x, weight, stride, padding, output_padding, groups, dilation, needs=needs
        )
    else:
        grad_x = arrays.empty(where, x.shape, compute, "grad_x") if want_x else None
        grad_weight = arrays.empty(where, weight.shape, compute, "the gradient of the weights") if want_weight else None
        grad_bias = np.empty(geometry.C, compute) if want_bias else None
        if grad_x is not None and grad_x.size:
            nothing, lowest = np.zeros(len(weight), compute), compute.type(-np.inf)
            calls.convolve(where, calls.call(geometry, len(g), compute, winograd()), g, weight, nothing, lowest, grad_x)
        if grad_weight is not None:
            own = calls.gradients(geometry, len(x), compute, False, winograd())
            calls.weight_gradient(where, own, x, g, grad_weight)
        if grad_bias is not None:
            bias_gradient(g, False, grad_bias)
        grads = grad_x, grad_weight, grad_bias
    return gradients_as(arrays.gradients_in(layout, grads), dtype, unbatched)


def _checked(
    where: str, x: Any, weight: Any, third: Any, layout: str, name: str = "bias"
) -> tuple[np.dtype, np.ndarray, np.ndarray, Any]:
    """The result's dtype, and the arrays, x and weight in NCHW order with their ranks checked."""
    layout_argument(where, layout)
    x, weight = arrays.numeric(where, "x", x), arrays.numeric(where, "weight", weight)
    if third is not None or name != "bias":
        third = arrays.numeric(where, name, third)
    check_ranks(where, x.shape, weight.shape, AXES)
    dtype = arrays.result_dtype(x, weight, third)
    return dtype, arrays.channels_first(x, layout), arrays.channels_first(weight, layout), third
