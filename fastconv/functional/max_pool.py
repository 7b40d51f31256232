"""Max-pooling: check, plan, allocate, call."""

from __future__ import annotations

import functools

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.sizes import Int2, Padding
from fastconv._engine.pool import max_dtype, max_pool, prepared_max_pool
from fastconv._engine.unpool import raise_outside, scatter
from fastconv._runtime.backend import on_numpy
from fastconv.errors import DTypeError
from fastconv.functional.images import as_given, checked_gradient, delivered
from fastconv.functional.pool_call import PoolCall, Pooling, pool_call


def max_pool2d(
    x: np.ndarray, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0, dilation: Int2 = 1,
    ceil_mode: bool = False, *, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The largest pixel of every window.

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `conv2d` takes; the result keeps it, integers exactly.
        kernel_size: (KH, KW) of a window.
        stride: pixels between windows; None is `kernel_size`.
        padding: as for `conv2d`, at most half of the kernel; it counts as -inf and is never chosen.
        dilation: pixels between the taps of a window.
        ceil_mode: take windows that overhang the bottom and right edges, but none that starts in the padding there.
        layout: `"NHWC"` takes and gives (N, H, W, C).
        out: the array that receives the result, as for `conv2d`.

    Returns:
        (N, C, OH, OW); NaN where a window holds one.

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])

    Source: semantics of PyTorch's `max_pool2d`.
    """
    where = "max_pool2d"
    call = pool_call(where, x, MAXIMA, kernel_size, stride, padding, dilation, ceil_mode, layout)
    y = call.new() if out is None else arrays.result(where, call.final, call.dtype, out, x)
    if on_numpy():
        images = arrays.channels_first(_native(np.asarray(x)), layout).reshape(call.images)
        found = reference.max_pool2d(images, kernel_size, stride, padding, dilation, ceil_mode)
    else:
        found = call.target(layout, y)
        _pool(call, call.ready(x, layout), False, found, NO_INDICES)
    if found is not y:
        delivered(found, y, layout)
    return y if out is None else out


def _dtypes(kind: np.dtype) -> tuple[np.dtype, np.dtype]:
    """That of x, and what it is computed in."""
    return kind.newbyteorder("="), max_dtype(kind)


MAXIMA, MAXIMA_WITH_INDICES = (
    Pooling(_dtypes, functools.partial(prepared_max_pool, keep=keep)) for keep in (False, True)
)
NO_INDICES = np.empty((0, 0, 0, 0), np.int64)


def max_pool2d_with_indices(
    x: np.ndarray, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0, dilation: Int2 = 1,
    ceil_mode: bool = False, *, layout: str = "NCHW",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The largest pixel of every window, and where it was.

    Args:
        x: as for `max_pool2d`.
        kernel_size: as for `max_pool2d`.
        stride: as for `max_pool2d`.
        padding: as for `max_pool2d`.
        dilation: as for `max_pool2d`.
        ceil_mode: as for `max_pool2d`.
        layout: as for `max_pool2d`.

    Returns:
        (y, indices): y as from `max_pool2d`; indices int64 of the same shape, iy * W + ix in the plane without its
        padding, the first in row-major order among equals and among NaNs.

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> y, indices = max_pool2d_with_indices(np.arange(16.0).reshape(1, 1, 4, 4), 2)
        >>> indices[0, 0]
        array([[ 5,  7],
               [13, 15]])

    Source: semantics of PyTorch's `max_pool2d(return_indices=True)`.
    """
    where = "max_pool2d_with_indices"
    call = pool_call(where, x, MAXIMA_WITH_INDICES, kernel_size, stride, padding, dilation, ceil_mode, layout)
    y, indices = call.new(), arrays.empty(where, call.final, np.dtype(np.int64))
    if on_numpy():
        images = arrays.channels_first(_native(np.asarray(x)), layout).reshape(call.images)
        best, cells = reference.max_pool2d_with_indices(images, kernel_size, stride, padding, dilation, ceil_mode)
    else:
        best = call.target(layout, y)
        cells = indices.reshape(call.shape) if layout == "NCHW" else np.empty(call.shape, np.int64)
        _pool(call, call.ready(x, layout), True, best, cells)
    return delivered(best, y, layout), delivered(cells, indices, layout)


def _pool(call: PoolCall, images: np.ndarray, keep: bool, y: np.ndarray, indices: np.ndarray) -> None:
    if not call.pieces:
        call.run(images, y, indices)
        return
    x, best = images.reshape(call.planes), y.reshape(call.results)
    cells, lowest, columns = indices.reshape(call.results) if keep else indices, call.lowest, call.geometry.columns
    for pixels, results, own in call.pieces:
        max_pool(x[pixels], own, columns, lowest, keep, best[results], cells[results])


def max_pool2d_backward(
    grad_output: np.ndarray, indices: np.ndarray, input_shape: tuple[int, ...], *, layout: str = "NCHW"
) -> np.ndarray:
    """The gradient of `max_pool2d`: each value goes to the pixel that was the largest of its window.

    Args:
        grad_output: (N, C, OH, OW) or (C, OH, OW), the gradient of the result.
        indices: integers of the same shape, from `max_pool2d_with_indices`.
        input_shape: the shape of the pooled x.
        layout: as for `max_pool2d`.

    Returns:
        grad_x, of `input_shape`.

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: an index lies outside the plane.
        TypeError: an argument is not a numeric array.

    Example:
        >>> max_pool2d_backward(np.array([[[7.0]]]), np.array([[[3]]]), (1, 2, 2))
        array([[[0., 0.],
                [0., 7.]]])

    Source: semantics of PyTorch's `max_pool2d` backward, with the indices checked.
    """
    return scattered(grad_output, indices, input_shape, layout)


def scattered(
    grad_output: np.ndarray, indices: np.ndarray, input_shape: tuple[int, ...], layout: str = "NCHW",
    positive: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """`max_pool2d_backward`, and on through a ReLU before the pool where `positive`, the pool's result, is given."""
    where = "max_pool2d_backward"
    g, shape, unbatched = checked_gradient(where, grad_output, input_shape, layout)
    indices = arrays.numeric(where, "indices", indices)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"{where}: indices must be integers, got {indices.dtype}")
    arrays.same_shape(where, "indices", indices, grad_output.shape)
    cells = arrays.channels_first(indices, layout)
    cells = ready(cells[None] if unbatched else cells, np.dtype(np.int64))
    if on_numpy():
        H, W = shape[2:]
        if cells.size and (cells.min() < 0 or cells.max() >= H * W):
            raise_outside(where, cells, H, W)
        g = g if positive is None else reference.relu_backward(g, arrays.channels_first(positive, layout))
        found = reference.max_pool2d_backward(g, cells, shape)
    else:
        gate = g
        if positive is not None:  # a tiny number must not become zero in another dtype
            gate = positive if positive.dtype == g.dtype else positive > 0
            gate = ready(arrays.channels_first(gate, layout), g.dtype)
        found = scatter(where, g, cells, gate, positive is not None, shape)
    return as_given(found, arrays.result_dtype(grad_output), layout, unbatched)


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
