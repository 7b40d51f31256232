"""Average pooling: check, plan, allocate, call."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.sizes import Int2, Padding, integer
from fastconv._engine.pool import avg_pool, avg_pool_backward, prepared_avg_pool
from fastconv._geometry.pool import pool_geometry
from fastconv._runtime.backend import on_numpy
from fastconv.functional.images import as_given, checked_gradient, delivered
from fastconv.functional.pool_call import Pooling, pool_call


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
    call = pool_call(where, x, MEANS, kernel_size, stride, padding, 1, ceil_mode, layout)
    include_pad, divisor = _divisor(where, count_include_pad, divisor_override)
    y = call.new() if out is None else arrays.result(where, call.final, call.dtype, out, x)
    images = call.ready(x, layout)
    if on_numpy():
        found = reference.avg_pool2d(
            images, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )
    else:
        found = call.target(layout, y)
        if not call.pieces:
            call.run(images, found, include_pad, divisor)
        else:
            planes, means, columns = images.reshape(call.planes), found.reshape(call.results), call.geometry.columns
            for pixels, results, own in call.pieces:
                avg_pool(planes[pixels], own, columns, include_pad, divisor, means[results])
    if found is not y:
        delivered(found, y, layout)
    return y if out is None else out


def _dtypes(kind: np.dtype) -> tuple[np.dtype, np.dtype]:
    """That of the result, and what it is computed in."""
    dtype = arrays.promoted((kind,))
    return dtype, arrays.compute_dtype(dtype)


MEANS = Pooling(_dtypes, prepared_avg_pool)


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
    arrays.same_shape(where, "grad_output", grad_output, arrays.shape_as(expected, layout)[int(unbatched) :])
    include_pad, divisor = _divisor(where, count_include_pad, divisor_override)
    if on_numpy():
        found = reference.avg_pool2d_backward(
            g, shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )
    else:
        found = avg_pool_backward(where, g, geometry.rows, geometry.columns, include_pad, divisor)
    return as_given(found, arrays.result_dtype(grad_output), layout, unbatched)


def _divisor(where: str, include_pad: Any, override: Any) -> tuple[bool, int]:
    """Whether padding counts, and what windows are divided by instead of what counts, 0 for none, both checked."""
    if not isinstance(include_pad, bool | np.bool_):
        raise TypeError(f"{where}: count_include_pad must be True or False, got {include_pad!r}")
    return bool(include_pad), 0 if override is None else integer(where, "divisor_override", override, 1)
