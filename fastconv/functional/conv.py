"""Convolution: its arguments checked, its result allocated and brought into the caller's order."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import Int2, Padding, padding_argument, pair, sizes
from fastconv._engine import calls
from fastconv._engine.weight_gradient import bias_gradient
from fastconv._geometry.conv import checked_output
from fastconv._plans.forward import ALWAYS, NEVER
from fastconv._runtime.backend import on_numpy
from fastconv._runtime.switches import winograd
from fastconv.functional.im2col import convolve_columns

ALGORITHMS = ("auto", "direct", "im2col", "winograd")


def conv_output_shape(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1,
) -> tuple[int, int, int, int]:  # fmt: skip
    """The shape (N, OC, OH, OW) of a convolution's result; OH = floor((H + pads - dilation*(KH-1) - 1) / stride) + 1.

    Args:
        input_shape: (N, C, H, W).
        weight_shape: (OC, C/groups, KH, KW); groups follow from the channels.
        stride: pixels between windows.
        padding: as for `conv2d`.
        dilation: pixels between taps.

    Raises:
        ShapeError: the shapes do not fit, or a window fits nowhere.
        TypeError: an argument is not made of integers.

    Example:
        >>> conv_output_shape((64, 1, 28, 28), (6, 1, 5, 5), padding=2)
        (64, 6, 28, 28)
    """
    where = "conv_output_shape"
    N, C, H, W = sizes(where, "input_shape", input_shape, (4,))
    OC, channels, KH, KW = sizes(where, "weight_shape", weight_shape, (4,))
    return checked_output(
        where, (N, C, H, W), (OC, channels, KH, KW), pair(where, "stride", stride, 1),
        padding_argument(where, padding), pair(where, "dilation", dilation, 1),
    )  # fmt: skip


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, groups: int = 1, *, layout: str = "NCHW", algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Convolve images with a bank of kernels (cross-correlation, as in every neural network library).

    y[n, oc, oy, ox] = bias[oc] + sum over c, ky, kx of
    weight[oc, c, ky, kx] * x[n, c, oy*s + ky*d - p, ox*s + kx*d - p]

    Args:
        x: (N, C, H, W) or (C, H, W). float32 and float64 give results of their own dtype, float16 is computed in
            float32, mixed dtypes follow `np.result_type`, integers are promoted with float32.
        weight: (OC, C/groups, KH, KW).
        bias: (OC,) or None.
        stride: pixels between windows, one integer or (vertical, horizontal).
        padding: zeros around the image: `p`, `(ph, pw)`, `((top, bottom), (left, right))`, `"valid"` (none), `"same"`
            (output as large as the input, stride 1), `"same_upper"` and `"same_lower"` (ceil(size / stride), the odd
            cell at the end or at the start), `"full"` (every overlap).
        dilation: pixels between the taps of a kernel.
        groups: the number of groups in which channels are convolved separately.
        layout: `"NHWC"` takes x (N, H, W, C) and weight (OC, KH, KW, C/groups) and gives (N, OH, OW, OC).
        algorithm: `"direct"`, `"im2col"` (a copy of every window, then a matrix product), `"winograd"` (F(2x2, 3x3),
            kernels of 3x3 with stride and dilation 1 only), or `"auto"`: direct, or Winograd's where that is faster
            (see `fastconv.config.use_winograd`).
        out: the array that receives the result: exact shape and dtype, C-contiguous, sharing no memory with an input.

    Returns:
        y, (N, OC, OH, OW) or (OC, OH, OW); `out` itself where it was given.

    Raises:
        ShapeError: shapes, stride, padding, dilation or groups do not fit; a ValueError.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        >>> edge = np.array([[[[1, -1]]]], np.float32)
        >>> conv2d(x, edge).ravel()[:3]
        array([-1., -1., -1.], dtype=float32)

    Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016), sections 2 and 5; of
    `"winograd"`: A. Lavin and S. Gray, Fast algorithms for convolutional neural networks (2015), section 4.1.
    """
    one_of("conv2d", "algorithm", algorithm, ALGORITHMS)
    return convolution(x, weight, bias, stride, padding, dilation, groups, layout, algorithm, out)


def convolution(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: Int2, padding: Padding, dilation: Int2,
    groups: int, layout: str = "NCHW", algorithm: str = "auto", out: np.ndarray | None = None, relu: bool = False,
    where: str = "conv2d",
) -> np.ndarray:  # fmt: skip
    """`conv2d` inside the function `where`, with ReLU applied to the sums before they are stored where `relu`."""
    by_winograd = winograd() if algorithm == "auto" else ALWAYS if algorithm == "winograd" else NEVER
    call = calls.call_of(where, x, weight, bias, "bias", stride, padding, dilation, groups, layout, by_winograd)
    compute, lowest = call.compute, call.compute.type(0) if relu else call.lowest
    y = call.new() if out is None else arrays.result(where, call.shape, call.dtype, out, x, weight, bias)
    if call.unbatched:
        x = np.asarray(x)[None]  # not by an operator of the caller's class
    if call.unbatched or compute is not call.dtype:
        target = y.reshape(call.batched) if compute == call.dtype else arrays.empty(where, call.batched, compute)
    else:
        target = y
    if on_numpy():
        x, weight = (arrays.channels_first(np.asarray(a, compute), layout) for a in (x, weight))
        found = reference.conv2d(
            x, weight, bias if bias is None else ready(bias, compute), stride, padding, dilation, groups
        )
        arrays.channels_first(target, layout)[...] = reference.relu(found) if relu else found
    elif target.size:
        start = call.zeros if bias is None else ready(bias, compute)
        if algorithm == "im2col":
            _by_columns(where, call, x, weight, start, lowest, target)
        else:
            calls.convolve(where, call, ready(x, compute), ready(weight, compute), start, lowest, target)
    if compute != call.dtype:
        y[...] = target.reshape(call.shape)
    return y if out is None else out


def _by_columns(
    where: str, call: calls.Call, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, y: np.ndarray
) -> None:
    """As `calls.convolve`, by a copy of every window; x and weight need not be ready."""
    compute, layout = call.compute, "NHWC" if call.plan.last else "NCHW"
    images = calls.first(where, arrays.channels_first(np.asarray(x), layout), compute)
    weight = ready(arrays.channels_first(np.asarray(weight), layout), compute)
    found = y if layout == "NCHW" else arrays.empty(where, arrays.shape_from(call.batched, layout), compute)
    convolve_columns(where, images, weight, bias, lowest, call, found)
    if found is not y:
        calls.put(found, layout, y)


def conv2d_backward(
    grad_output: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, groups: int = 1, *, layout: str = "NCHW", needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The gradients of `conv2d` with respect to x, weight and bias.

    Args:
        grad_output: the gradient of the result, of the result's shape.
        x: as given to `conv2d`.
        weight: as given to `conv2d`.
        stride: as given to `conv2d`.
        padding: as given to `conv2d`.
        dilation: as given to `conv2d`.
        groups: as given to `conv2d`.
        layout: as given to `conv2d`.
        needs: which of the three to compute; the others are None.

    Returns:
        (grad_x, grad_weight, grad_bias), of the shapes of x, weight and (OC,).

    Raises:
        ShapeError: grad_output does not have the result's shape, or as for `conv2d`.
        TypeError: as for `conv2d`.

    Example:
        >>> x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
        >>> grad_x, grad_w, grad_b = conv2d_backward(np.ones((1, 1, 2, 2)), x, w)
        >>> grad_x[0, 0]
        array([[1., 2., 1.],
               [2., 4., 2.],
               [1., 2., 1.]])

    Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016), section 4.
    """
    return convolution_backward(grad_output, x, weight, stride, padding, dilation, groups, layout, needs)


def convolution_backward(
    grad_output: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Int2, padding: Padding, dilation: Int2,
    groups: int, layout: str = "NCHW", needs: tuple[bool, bool, bool] = (True, True, True),
    where: str = "conv2d_backward",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """`conv2d_backward` inside the function `where`."""
    want_x, want_weight, want_bias = needed(where, needs)
    options = stride, padding, dilation, groups, layout
    call = calls.call_of(where, x, weight, grad_output, "grad_output", *options, winograd())
    conv, compute, own = call.conv, call.compute, call.gradients
    arrays.same_shape(where, "grad_output", grad_output, call.shape)
    g, x, weight = np.asarray(grad_output), np.asarray(x), np.asarray(weight)
    g, x = (g[None], x[None]) if call.unbatched else (g, x)
    if on_numpy():
        g, x, weight = (ready(arrays.channels_first(a, layout), compute) for a in (g, x, weight))
        grads = reference.conv2d_backward(g, x, weight, stride, padding, dilation, groups, needs=needs)
        return gradients_as(arrays.gradients_in(layout, grads), call.dtype, call.unbatched)
    g, x, weight = (ready(a, compute) for a in (g, x, weight))
    grad_x = arrays.empty(where, x.shape, compute, "grad_x") if want_x else None
    grad_weight = arrays.empty(where, weight.shape, compute, "the gradient of the weights") if want_weight else None
    grad_bias = np.empty(conv.OC, compute) if want_bias else None
    assert own is not None
    if grad_x is not None:
        calls.input_gradient(where, own, g, weight, None, grad_x)
    if grad_weight is not None:
        calls.weight_gradient(where, own, g, x, grad_weight)
    if grad_bias is not None:
        bias_gradient(g, own.input.last, grad_bias)
    return gradients_as((grad_x, grad_weight, grad_bias), call.dtype, call.unbatched)


def gradients_as(
    grads: tuple[np.ndarray | None, ...], dtype: np.dtype, unbatched: bool
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The gradients of x, weight and bias, in the caller's order, as arrays of their own of the result's dtype."""
    grad_x, grad_weight, grad_bias = (None if a is None else _own(a, dtype) for a in grads)
    return grad_x if grad_x is None or not unbatched else grad_x[0], grad_weight, grad_bias


def _own(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.ascontiguousarray(array.astype(dtype, copy=False))


def needed(where: str, needs: Any) -> tuple[bool, bool, bool]:
    """`needs`, checked."""
    if type(needs) is tuple and tuple(map(type, needs)) == (bool, bool, bool):
        return needs
    if not isinstance(needs, tuple | list) or len(needs) != 3:
        raise ValueError(f"{where}: needs must be three booleans (x, weight, bias), got {needs!r}")
    return bool(needs[0]), bool(needs[1]), bool(needs[2])
