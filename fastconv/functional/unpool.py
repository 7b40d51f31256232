"""Unpooling: values put back where max-pooling found them."""

from __future__ import annotations

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.sizes import layout_argument, sizes
from fastconv._engine.unpool import put, raise_outside, take
from fastconv._runtime.backend import on_numpy
from fastconv.errors import DTypeError, ShapeError


def max_unpool2d(
    x: np.ndarray, indices: np.ndarray, output_shape: tuple[int, ...], *, layout: str = "NCHW"
) -> np.ndarray:
    """Put every value where its index says, and zeros elsewhere: the way back from `max_pool2d_with_indices`.

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `max_pool2d` takes; the result keeps it, integers exactly.
        indices: integers of the same shape, iy * OW + ix in a plane of the result. Where one occurs twice in a plane,
            as it does among windows that overlap, the last in row-major order counts.
        output_shape: (N, C, OH, OW) or (C, OH, OW).
        layout: `"NHWC"` takes and gives (N, H, W, C).

    Returns:
        y, of `output_shape`.

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: an index lies outside the plane.
        TypeError: an argument is not a numeric array.

    Example:
        >>> max_unpool2d(np.array([[[7.0]]]), np.array([[[3]]]), (1, 2, 2))
        array([[[0., 0.],
                [0., 7.]]])

    Source: semantics of PyTorch's `max_unpool2d`, with the indices checked.
    """
    where = "max_unpool2d"
    layout_argument(where, layout)
    images, unbatched = arrays.batched(where, "x", arrays.numeric(where, "x", x))
    shape = sizes(where, "output_shape", output_shape, (x.ndim,))
    shape = (1, *shape) if unbatched else shape
    N, C, H, W = arrays.shape_from(shape, layout)
    images = arrays.channels_first(images, layout)
    if images.shape[:2] != (N, C) or min(C, H, W) < 1:
        raise ShapeError(f"{where}: output_shape {tuple(output_shape)} does not fit x of {x.shape}")
    indices = arrays.numeric(where, "indices", indices)
    arrays.same_shape(where, "indices", indices, x.shape)
    cells = _cells(where, indices, unbatched, (H, W), layout)
    values = ready(images, x.dtype.newbyteorder("="))
    if on_numpy():
        y = reference.max_unpool2d(values, cells, (N, C, H, W))
    else:
        bits = values.view(f"u{values.itemsize}")  # whose kernels serve all dtypes
        y = put(where, bits, cells, (N, C, H, W)).view(values.dtype)
    return np.ascontiguousarray(arrays.channels_as(y, layout)[0 if unbatched else slice(None)])


def max_unpool2d_backward(grad_output: np.ndarray, indices: np.ndarray, *, layout: str = "NCHW") -> np.ndarray:
    """The gradient of `max_unpool2d`: every value gets that of the pixel it was put to.

    Args:
        grad_output: (N, C, OH, OW) or (C, OH, OW), the gradient of the result.
        indices: as given to `max_unpool2d`; where one occurs twice, both get the pixel's gradient.
        layout: as given to `max_unpool2d`.

    Returns:
        grad_x, of the shape of indices.

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: an index lies outside the plane.
        TypeError: an argument is not a numeric array.

    Example:
        >>> max_unpool2d_backward(np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.array([[[3]]]))
        array([[[4.]]])

    Source: semantics of PyTorch's `max_unpool2d` backward, with the indices checked.
    """
    where = "max_unpool2d_backward"
    layout_argument(where, layout)
    g, unbatched = arrays.batched(where, "grad_output", arrays.numeric(where, "grad_output", grad_output))
    g = arrays.channels_first(g, layout)
    N, C, H, W = g.shape
    indices = arrays.numeric(where, "indices", indices)
    if indices.ndim != grad_output.ndim or min(C, H, W) < 1:
        raise ShapeError(f"{where}: indices {indices.shape} do not fit grad_output of {grad_output.shape}")
    cells = _cells(where, indices, unbatched, (H, W), layout)
    if cells.shape[:2] != (N, C):
        raise ShapeError(f"{where}: indices {indices.shape} do not fit grad_output of {grad_output.shape}")
    dtype = arrays.result_dtype(grad_output)
    values = ready(g, dtype)
    if on_numpy():
        grad = reference.max_unpool2d_backward(values, cells)
    else:
        grad = take(where, values.view(f"u{values.itemsize}"), cells).view(dtype)
    return np.ascontiguousarray(arrays.channels_as(grad, layout)[0 if unbatched else slice(None)])


def _cells(where: str, indices: np.ndarray, unbatched: bool, plane: tuple[int, int], layout: str) -> np.ndarray:
    """Indices (N, C, H, W) int64 into planes (H, W), checked for the reference, which takes any."""
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"{where}: indices must be integers, got {indices.dtype}")
    cells = ready(arrays.channels_first(indices[None] if unbatched else indices, layout), np.dtype(np.int64))
    if on_numpy() and cells.size and (cells.min() < 0 or cells.max() >= plane[0] * plane[1]):
        raise_outside(where, cells, *plane)
    return cells
