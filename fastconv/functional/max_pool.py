"""Max-pooling: check, plan, allocate, call."""

from __future__ import annotations

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.sizes import Int2, Padding
from fastconv._geometry.axes import max_window
from fastconv._runtime.backend import on_numpy
from fastconv.errors import DTypeError, RangeError
from fastconv.functional.images import as_given, checked_gradient, delivered, pool_pieces, pooled_images
from fastconv.kernels import max_pool as kernels

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
    images, geometry, unbatched = pooled_images(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout)
    shape = (*images.shape[:2], geometry.rows.out, geometry.columns.out)
    y = arrays.result(where, arrays.shape_as(shape, layout)[int(unbatched) :], x.dtype.newbyteorder("="), out, x)
    if on_numpy():
        found = reference.max_pool2d(_native(images), kernel_size, stride, padding, dilation, ceil_mode)
    else:
        planes = ready(images, max_dtype(images.dtype)).reshape(-1 if images.size else 0, *images.shape[2:])
        straight = planes.dtype == y.dtype and layout == "NCHW"
        found = y.reshape(shape) if straight else np.empty(shape, planes.dtype)
        window, results = max_window(geometry.rows, geometry.columns), found.reshape(len(planes), *shape[2:])
        vectors, nothing = kernels.takes_vectors(planes, window), np.empty((0, 0, 0), np.int64)
        for part, rows, own in pool_pieces(len(planes), geometry, window):
            if vectors:
                kernels.forward_in_vectors(planes[part], own, results[part, rows], nothing, False)
            else:
                kernels.forward(planes[part], own, _lowest(planes.dtype), results[part, rows])
    delivered(found, y, layout)
    return y if out is None else out


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
    images, geometry, unbatched = pooled_images(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout)
    shape = (*images.shape[:2], geometry.rows.out, geometry.columns.out)
    final = arrays.shape_as(shape, layout)[int(unbatched) :]
    y = arrays.empty(where, final, x.dtype.newbyteorder("="))
    indices = arrays.empty(where, final, np.dtype(np.int64))
    if on_numpy():
        best, cells = reference.max_pool2d_with_indices(
            _native(images), kernel_size, stride, padding, dilation, ceil_mode
        )
    else:
        planes = ready(images, max_dtype(images.dtype)).reshape(-1 if images.size else 0, *images.shape[2:])
        straight = planes.dtype == y.dtype and layout == "NCHW"
        best = y.reshape(shape) if straight else np.empty(shape, planes.dtype)
        cells = indices.reshape(shape) if layout == "NCHW" else np.empty(shape, np.int64)
        window = max_window(geometry.rows, geometry.columns)
        vectors = kernels.takes_vectors(planes, window)
        results, places = (a.reshape(len(planes), *shape[2:]) for a in (best, cells))
        for part, rows, own in pool_pieces(len(planes), geometry, window):
            if vectors:
                kernels.forward_in_vectors(planes[part], own, results[part, rows], places[part, rows], True)
            else:
                kernels.forward_with_indices(planes[part], own, results[part, rows], places[part, rows])
    return delivered(best, y, layout), delivered(cells, indices, layout)


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
    N, C, H, W = shape
    P, size = N * C, g.shape[2] * g.shape[3]
    if on_numpy():
        if cells.size and (cells.min() < 0 or cells.max() >= H * W):
            raise outside(where, cells, H, W)
        g = g if positive is None else reference.relu_backward(g, arrays.channels_first(positive, layout))
        found = reference.max_pool2d_backward(g, cells, shape)
    else:
        found = arrays.empty(where, shape, g.dtype, "grad_x")
        gate = g
        if positive is not None:  # a tiny number must not become zero in another dtype
            gate = positive if positive.dtype == g.dtype else positive > 0
            gate = ready(arrays.channels_first(gate, layout), g.dtype)
        planes = (a.reshape(P, size) for a in (g, cells, gate))
        if kernels.backward(*planes, positive is not None, found.reshape(P, H * W)):
            raise outside(where, cells, H, W)
    return as_given(found, arrays.result_dtype(grad_output), layout, unbatched)


def outside(where: str, indices: np.ndarray, H: int, W: int) -> RangeError:
    """The error of indices that lie outside planes of H x W."""
    bad = indices[(indices < 0) | (indices >= H * W)]
    return RangeError(INDEX_OUTSIDE, where, H * W - 1, H, W, bad[0])


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def max_dtype(dtype: np.dtype) -> np.dtype:
    """What max-pooling computes in: floats as elsewhere, integers in the widest of their kind, for fewer kernels."""
    if dtype.kind == "f":
        return arrays.compute_dtype(dtype.newbyteorder("="))
    return np.dtype(np.uint64) if dtype == np.uint64 else np.dtype(np.int64)


def _lowest(dtype: np.dtype) -> np.generic:
    return dtype.type(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min)
