"""Global average pooling, in the order of NumPy's sums.

Its vectors lie along a plane, where those of the pooling kernel lie along the results of a row.
"""

from __future__ import annotations

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._engine.global_pool import share_out
from fastconv._runtime.backend import on_numpy
from fastconv.functional.images import as_given, checked_gradient, images_of
from fastconv.kernels import global_pool as kernels


def global_avg_pool2d(x: np.ndarray, *, layout: str = "NCHW") -> np.ndarray:
    """The mean of every plane.

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `conv2d` takes, promoted as there.
        layout: `"NHWC"` takes (N, H, W, C) and gives (N, 1, 1, C).

    Returns:
        (N, C, 1, 1) or (C, 1, 1).

    Raises:
        ShapeError: x has another number of dimensions, or no pixel.
        TypeError: x is not a numeric array.

    Example:
        >>> global_avg_pool2d(np.arange(8.0).reshape(2, 2, 2)).ravel()
        array([1.5, 5.5])

    Source: M. Lin et al., Network in network (2013), section 3.2.
    """
    where = "global_avg_pool2d"
    images, unbatched = images_of(where, x, layout)
    dtype = arrays.result_dtype(x)
    images = ready(images, arrays.compute_dtype(dtype))
    if on_numpy():
        y = reference.global_avg_pool2d(images)
    else:
        y = np.empty((*images.shape[:2], 1, 1), images.dtype)
        kernels.forward(images, y)
    return as_given(y, dtype, layout, unbatched)


def global_avg_pool2d_backward(
    grad_output: np.ndarray, input_shape: tuple[int, ...], *, layout: str = "NCHW"
) -> np.ndarray:
    """The gradient of `global_avg_pool2d`: each value is shared out over its plane.

    Args:
        grad_output: (N, C, 1, 1) or (C, 1, 1), the gradient of the result.
        input_shape: the shape of the pooled x.
        layout: as given to `global_avg_pool2d`.

    Returns:
        grad_x, of `input_shape`.

    Raises:
        ShapeError: the shapes do not fit.
        TypeError: an argument is not a numeric array.

    Example:
        >>> global_avg_pool2d_backward(np.array([[[8.0]]]), (1, 2, 2))
        array([[[2., 2.],
                [2., 2.]]])

    Source: as for `global_avg_pool2d`.
    """
    where = "global_avg_pool2d_backward"
    g, shape, unbatched = checked_gradient(where, grad_output, input_shape, layout)
    expected = arrays.shape_as((*shape[:2], 1, 1), layout)[int(unbatched) :]
    arrays.same_shape(where, "grad_output", grad_output, expected)
    if on_numpy():
        found = reference.global_avg_pool2d_backward(g, shape)
    else:
        found = share_out(where, g, shape)
    return as_given(found, arrays.result_dtype(grad_output), layout, unbatched)
