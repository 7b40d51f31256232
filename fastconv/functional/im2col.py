"""im2col and col2im: check, plan, allocate, call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import Int2, Padding, sizes
from fastconv._engine.calls import Call
from fastconv._engine.pieces import at
from fastconv._geometry.axes import taps_window
from fastconv._geometry.conv import Conv, pixels_of, reduction_length, window_geometry
from fastconv._runtime.backend import on_numpy
from fastconv.errors import ShapeError
from fastconv.kernels import im2col as kernels
from fastconv.kernels.gemm import matmul

# by order, of N images, K taps and P pixels: the shape of the columns
ORDERS: dict[str, Callable[[int, int, int], tuple[int, ...]]] = {
    "rows": lambda N, K, P: (N * P, K),
    "cols": lambda N, K, P: (K, P * N),
    "unfold": lambda N, K, P: (N, K, P),
}
COPY: dict[str, Callable] = {"rows": kernels.im2col_rows, "cols": kernels.im2col_cols, "unfold": kernels.im2col_unfold}
ADD: dict[str, Callable] = {"rows": kernels.col2im_rows, "cols": kernels.col2im_cols, "unfold": kernels.col2im_unfold}


def _shape(order: str, N: int, conv: Conv) -> tuple[int, ...]:
    return ORDERS[order](N, reduction_length(conv), pixels_of(conv))


def _window(conv: Conv) -> tuple[int, ...]:
    return taps_window(conv.rows, conv.columns)


def unfold(where: str, x: np.ndarray, conv: Conv) -> np.ndarray:
    """The columns (N, K, OH*OW) of checked images (N, C, H, W), for a matrix product from the left."""
    shape = x.shape[1] * conv.rows.kernel * conv.columns.kernel, pixels_of(conv)
    cols = arrays.empty(where, (len(x), *shape), x.dtype, "the im2col matrix")
    COPY["unfold"](x, _window(conv), cols.reshape(-1))
    return cols


def order_argument(where: str, order: Any) -> str:
    """`order`, checked."""
    return one_of(where, "order", order, ORDERS)


def im2col(
    x: np.ndarray, kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0, dilation: Int2 = 1, *,
    order: str = "rows", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Copy every window of the images into a row or a column, so that a convolution becomes a matrix product.

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `conv2d` takes.
        kernel_size: (KH, KW) of a window.
        stride: pixels between windows.
        padding: as for `conv2d`.
        dilation: pixels between taps.
        order: `"rows"`: (N*OH*OW, C*KH*KW), row (n, oy, ox), column (c, ky, kx); `"cols"`: (C*KH*KW, OH*OW*N), column
            (oy, ox, n); `"unfold"`: (N, C*KH*KW, OH*OW), as PyTorch's `unfold`.
        out: the array that receives the result, as for `conv2d`.

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), 2)
        array([[0., 1., 3., 4.],
               [1., 2., 4., 5.],
               [3., 4., 6., 7.],
               [4., 5., 7., 8.]])

    Source: K. Chellapilla, S. Puri, P. Simard, High performance convolutional neural networks for document processing
    (2006), section 3.1.
    """
    where = "im2col"
    order_argument(where, order)
    given = arrays.numeric(where, "x", x)
    dtype = arrays.result_dtype(given)
    x, unbatched = arrays.batched(where, "x", given)
    geometry = window_geometry(where, x.shape[1:], kernel_size, stride, padding, dilation)
    shape = _shape(order, len(x), geometry)
    cols = arrays.result(where, shape[1:] if unbatched and order == "unfold" else shape, dtype, out, given)
    compute = arrays.compute_dtype(dtype)
    if on_numpy():
        found = reference.im2col(x.astype(compute, copy=False), kernel_size, stride, padding, dilation, order=order)
        cols[...] = found.reshape(cols.shape)
    elif compute == dtype:
        COPY[order](ready(x, compute), _window(geometry), cols.reshape(-1))
    else:
        wider = np.empty(cols.size, compute)
        COPY[order](ready(x, compute), _window(geometry), wider)
        cols[...] = wider.reshape(cols.shape)
    return cols if out is None else out


def col2im(
    cols: np.ndarray, input_shape: tuple[int, ...], kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, *, order: str = "rows", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Add every window's values to the pixels they came from: the transpose of `im2col`, not its inverse.

    Args:
        cols: what `im2col` gives for images of `input_shape`, in the same order.
        input_shape: (N, C, H, W) or (C, H, W) of the images.
        kernel_size: as given to `im2col`.
        stride: as given to `im2col`.
        padding: as given to `im2col`.
        dilation: as given to `im2col`.
        order: as given to `im2col`.
        out: the array that receives the result, as for `conv2d`.

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> col2im(np.ones((4, 4)), (1, 1, 3, 3), 2)[0, 0]
        array([[1., 2., 1.],
               [2., 4., 2.],
               [1., 2., 1.]])

    Source: as for `im2col`.
    """
    where = "col2im"
    order_argument(where, order)
    given = arrays.numeric(where, "cols", cols)
    dtype = arrays.result_dtype(given)
    image_shape = sizes(where, "input_shape", input_shape, (3, 4))
    full = image_shape if len(image_shape) == 4 else (1, *image_shape)
    if min(full[1:]) < 1:
        raise ShapeError(f"{where}: input_shape must have at least one channel and one pixel, got {full}")
    geometry = window_geometry(where, full[1:], kernel_size, stride, padding, dilation)
    shape = _shape(order, full[0], geometry)
    arrays.same_shape(where, "cols", given, shape[1:] if full != image_shape and order == "unfold" else shape)
    x = arrays.result(where, image_shape, dtype, out, given)
    compute = arrays.compute_dtype(dtype)
    target = x.reshape(full) if compute == dtype else np.empty(full, compute)
    cols = ready(given, compute)
    if on_numpy():
        cols = cols.reshape(shape)
        target[...] = reference.col2im(cols, full, kernel_size, stride, padding, dilation, order=order)
    else:
        ADD[order](cols.reshape(-1), _window(geometry), target)
    if compute != dtype:
        x[...] = target.reshape(x.shape)
    return x if out is None else out


def convolve_columns(
    where: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, call: Call, y: np.ndarray
) -> None:
    """y = the convolution of arrays in NCHW order, as matrix products, clamped to `lowest`."""
    if not call.pieces:
        _convolve_columns(where, x, weight, bias, lowest, call.conv, y)
    for piece in call.pieces:
        found = np.empty(y[at(piece.outputs)].shape, y.dtype)
        _convolve_columns(where, ready(x[at(piece.inputs)], x.dtype), weight, bias, lowest, piece.conv, found)
        y[at(piece.outputs)] = found


def _convolve_columns(
    where: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, conv: Conv, y: np.ndarray
) -> None:
    groups, per_group, channels = conv.groups, conv.OC // conv.groups, conv.C // conv.groups
    y[...] = bias[:, None, None]
    for group in range(groups):
        outputs = slice(group * per_group, (group + 1) * per_group)
        cols = unfold(where, ready(x[:, group * channels : (group + 1) * channels], x.dtype), conv)
        part = np.array(y[:, outputs].reshape(len(y), per_group, cols.shape[2]))
        matmul(weight[outputs].reshape(-1), reduction_length(conv), 1, cols, bias, False, part)
        y[:, outputs] = part.reshape(y[:, outputs].shape)
    y[y <= lowest] = lowest
