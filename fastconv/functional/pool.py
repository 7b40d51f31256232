"""Pooling: check, plan, allocate, call."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _arrays, reference
from fastconv._arrays import ready
from fastconv._axes import counts, max_window, mean_window
from fastconv._backend import on_numpy
from fastconv._geometry import PoolGeometry, pool_geometry
from fastconv._sizes import Int2, Padding, integer, layout_argument, sizes
from fastconv.errors import DTypeError, RangeError, ShapeError
from fastconv.kernels import avg_pool as avg_kernels
from fastconv.kernels import max_pool as max_kernels

INDEX_OUTSIDE = "{}: indices must be from 0 to {} for a plane of {} x {}, got {}"


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
    images, geometry, unbatched = _prepared(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout)
    shape = (*images.shape[:2], geometry.rows.out, geometry.columns.out)
    y = _arrays.result(where, _arrays.shape_as(shape, layout)[int(unbatched) :], x.dtype.newbyteorder("="), out, x)
    if on_numpy():
        found = reference.max_pool2d(_native(images), kernel_size, stride, padding, dilation, ceil_mode)
    else:
        planes = ready(images, max_dtype(images.dtype)).reshape(-1 if images.size else 0, *images.shape[2:])
        straight = planes.dtype == y.dtype and layout == "NCHW"
        found = y.reshape(shape) if straight else np.empty(shape, planes.dtype)
        window, results = max_window(geometry.rows, geometry.columns), found.reshape(len(planes), *shape[2:])
        if max_kernels.takes_vectors(planes, window):
            max_kernels.forward_in_vectors(planes, window, results, np.empty((0, 0, 0), np.int64), False)
        else:
            max_kernels.forward(planes, window, _lowest(planes.dtype), results)
    return _delivered(found, y, layout)


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
    images, geometry, unbatched = _prepared(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout)
    shape = (*images.shape[:2], geometry.rows.out, geometry.columns.out)
    final = _arrays.shape_as(shape, layout)[int(unbatched) :]
    y = _arrays.empty(where, final, x.dtype.newbyteorder("="))
    indices = _arrays.empty(where, final, np.dtype(np.int64))
    if on_numpy():
        best, cells = reference.max_pool2d_with_indices(
            _native(images), kernel_size, stride, padding, dilation, ceil_mode
        )
    else:
        planes = ready(images, max_dtype(images.dtype)).reshape(-1 if images.size else 0, *images.shape[2:])
        straight = planes.dtype == y.dtype and layout == "NCHW"
        best = y.reshape(shape) if straight else np.empty(shape, planes.dtype)
        cells = indices.reshape(shape) if layout == "NCHW" else np.empty(shape, np.int64)
        flat, window = (len(planes), *shape[2:]), max_window(geometry.rows, geometry.columns)
        if max_kernels.takes_vectors(planes, window):
            max_kernels.forward_in_vectors(planes, window, best.reshape(flat), cells.reshape(flat), True)
        else:
            max_kernels.forward_with_indices(planes, window, best.reshape(flat), cells.reshape(flat))
    return _delivered(best, y, layout), _delivered(cells, indices, layout)


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
    indices = _arrays.numeric(where, "indices", indices)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"{where}: indices must be integers, got {indices.dtype}")
    _arrays.same_shape(where, "indices", indices, grad_output.shape)
    cells = _arrays.channels_first(indices, layout)
    cells = ready(cells[None] if unbatched else cells, np.dtype(np.int64))
    N, C, H, W = shape
    P, size = N * C, g.shape[2] * g.shape[3]
    if on_numpy():
        if cells.size and (cells.min() < 0 or cells.max() >= H * W):
            raise outside(where, cells, H, W)
        found = reference.max_pool2d_backward(g, cells, shape)
    else:
        found = _arrays.empty(where, shape, g.dtype, "grad_x")
        gate = g if positive is None else ready(_arrays.channels_first(positive, layout), g.dtype)
        planes = (a.reshape(P, size) for a in (g, cells, gate))
        if max_kernels.backward(*planes, positive is not None, found.reshape(P, H * W)):
            raise outside(where, cells, H, W)
    return as_given(found, grad_output, layout, unbatched)


def avg_pool2d(
    x: np.ndarray, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None, *, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The mean of every window.

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `conv2d` takes, promoted as there.
        kernel_size: (KH, KW) of a window.
        stride: pixels between windows; None is `kernel_size`.
        padding: zeros, as for `conv2d`, at most half of the kernel.
        ceil_mode: as for `max_pool2d`.
        count_include_pad: divide by the cells of the window inside the padded image; otherwise by its pixels.
        divisor_override: divide by this number instead.
        layout: as for `max_pool2d`.
        out: the array that receives the result, as for `conv2d`.

    Returns:
        (N, C, OH, OW).

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])

    Source: semantics of PyTorch's `avg_pool2d`.
    """
    where = "avg_pool2d"
    images, geometry, unbatched = _prepared(where, x, kernel_size, stride, padding, 1, ceil_mode, layout)
    dtype = _arrays.result_dtype(x)
    compute = _arrays.compute_dtype(dtype)
    shape = (*images.shape[:2], geometry.rows.out, geometry.columns.out)
    divisors = _divisors(where, geometry, count_include_pad, divisor_override)
    y = _arrays.result(where, _arrays.shape_as(shape, layout)[int(unbatched) :], dtype, out, x)
    images = ready(images, compute)
    if on_numpy():
        found = reference.avg_pool2d(
            images, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )
    else:
        straight = compute == dtype and layout == "NCHW"
        found = y.reshape(shape) if straight else np.empty(shape, compute)
        P = shape[0] * shape[1]
        planes = images.reshape(P, *images.shape[2:])
        avg_kernels.forward(
            planes, mean_window(geometry.rows, geometry.columns), *divisors, found.reshape(P, *shape[2:])
        )
    return _delivered(found, y, layout)


def avg_pool2d_backward(
    grad_output: np.ndarray, input_shape: tuple[int, ...], kernel_size: Int2, stride: Int2 | None = None,
    padding: Padding = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None, *, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    """The gradient of `avg_pool2d`: each value is shared out over the pixels of its window.

    Args:
        grad_output: (N, C, OH, OW) or (C, OH, OW), the gradient of the result.
        input_shape: the shape of the pooled x.
        kernel_size: as given to `avg_pool2d`.
        stride: as given to `avg_pool2d`.
        padding: as given to `avg_pool2d`.
        ceil_mode: as given to `avg_pool2d`.
        count_include_pad: as given to `avg_pool2d`.
        divisor_override: as given to `avg_pool2d`.
        layout: as given to `avg_pool2d`.

    Returns:
        grad_x, of `input_shape`.

    Raises:
        ShapeError: the shapes do not fit.
        TypeError: an argument is not a numeric array.

    Example:
        >>> avg_pool2d_backward(np.array([[[8.0]]]), (1, 2, 2), 2)
        array([[[2., 2.],
                [2., 2.]]])

    Source: semantics of PyTorch's `avg_pool2d` backward.
    """
    where = "avg_pool2d_backward"
    g, shape, unbatched = checked_gradient(where, grad_output, input_shape, layout)
    geometry = pool_geometry(where, shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    expected = (*shape[:2], geometry.rows.out, geometry.columns.out)
    _arrays.same_shape(where, "grad_output", grad_output, _arrays.shape_as(expected, layout)[int(unbatched) :])
    divisors = _divisors(where, geometry, count_include_pad, divisor_override)
    if on_numpy():
        found = reference.avg_pool2d_backward(
            g, shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )
    else:
        found = _arrays.empty(where, shape, g.dtype, "grad_x")
        P = shape[0] * shape[1]
        flat = g.reshape(P, *g.shape[2:])
        avg_kernels.backward(
            flat, mean_window(geometry.rows, geometry.columns), *divisors, found.reshape(P, *shape[2:])
        )
    return as_given(found, grad_output, layout, unbatched)


def _prepared(
    where: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any
) -> tuple[np.ndarray, PoolGeometry, bool]:
    """X in NCHW order with a batch axis, its geometry, and whether it had no batch."""
    layout_argument(where, layout)
    images, unbatched = _arrays.batched(where, "x", _arrays.numeric(where, "x", x))
    images = _arrays.channels_first(images, layout)
    if images.shape[1] < 1:
        raise ShapeError(f"{where}: x must have at least one channel, got shape {x.shape}")
    return images, pool_geometry(where, images.shape[2:], kernel_size, stride, padding, dilation, ceil_mode), unbatched


def images_of(where: str, x: Any, layout: Any) -> tuple[np.ndarray, bool]:
    """X in NCHW order with a batch axis, and whether it had none."""
    layout_argument(where, layout)
    images, unbatched = _arrays.batched(where, "x", _arrays.numeric(where, "x", x))
    images = _arrays.channels_first(images, layout)
    if 0 in images.shape[1:]:
        raise ShapeError(f"{where}: x must have at least one channel and one pixel, got shape {x.shape}")
    return images, unbatched


def checked_gradient(
    where: str, grad_output: Any, input_shape: Any, layout: Any
) -> tuple[np.ndarray, tuple[int, int, int, int], bool]:
    """grad_output ready for a kernel, in NCHW order with a batch axis; the input's shape likewise."""
    layout_argument(where, layout)
    g, unbatched = _arrays.batched(where, "grad_output", _arrays.numeric(where, "grad_output", grad_output))
    full = sizes(where, "input_shape", input_shape, (grad_output.ndim,))
    full = (1, *full) if unbatched else full
    N, C, H, W = full if layout == "NCHW" else (full[0], full[3], full[1], full[2])
    g = _arrays.channels_first(g, layout)
    if g.shape[:2] != (N, C) or min(C, H, W) < 1:
        raise ShapeError(f"{where}: input_shape {tuple(input_shape)} does not fit grad_output of {grad_output.shape}")
    return ready(g, _arrays.compute_dtype(_arrays.result_dtype(grad_output))), (N, C, H, W), unbatched


def _delivered(found: np.ndarray, y: np.ndarray, layout: str) -> np.ndarray:
    """y, holding the NCHW result `found`, of which it may be a view already."""
    if not np.may_share_memory(found, y):
        y[...] = _arrays.channels_as(found, layout).reshape(y.shape)
    return y


def as_given(found: np.ndarray, given: np.ndarray, layout: str, unbatched: bool) -> np.ndarray:
    """`found`, in NCHW order, as the caller gave `given`: in its layout, with or without a batch, in its dtype."""
    result = np.ascontiguousarray(_arrays.channels_as(found, layout)[0 if unbatched else slice(None)])
    return result.astype(_arrays.result_dtype(given), copy=False)


def outside(where: str, indices: np.ndarray, H: int, W: int) -> RangeError:
    """The error of indices that lie outside planes of H x W."""
    bad = indices[(indices < 0) | (indices >= H * W)]
    return RangeError(INDEX_OUTSIDE, where, H * W - 1, H, W, bad[0])


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def max_dtype(dtype: np.dtype) -> np.dtype:
    """What max-pooling computes in: floats as ever, integers in the widest of their kind, so that few are compiled."""
    if dtype.kind == "f":
        return _arrays.compute_dtype(dtype.newbyteorder("="))
    return np.dtype(np.uint64) if dtype == np.uint64 else np.dtype(np.int64)


def _lowest(dtype: np.dtype) -> np.generic:
    return dtype.type(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min)


def _divisors(where: str, geometry: PoolGeometry, include_pad: Any, override: Any) -> tuple[np.ndarray, np.ndarray]:
    """What each window is divided by, as a factor of its row and one of its column: no array of the result's size."""
    if not isinstance(include_pad, bool | np.bool_):
        raise TypeError(f"{where}: count_include_pad must be True or False, got {include_pad!r}")
    if override is not None:
        divisor = integer(where, "divisor_override", override, 1)
        return np.full(geometry.rows.out, divisor, np.int64), np.ones(geometry.columns.out, np.int64)
    return counts(geometry.rows, bool(include_pad)), counts(geometry.columns, bool(include_pad))
