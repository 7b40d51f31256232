"""global_avg_pool2d and its gradient in jitted code; planes are added up row by row, by NumPy in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import check_memory, same_shape
from fastconv._arguments.sizes import layout_argument
from fastconv._overloads import arguments
from fastconv._overloads.arguments import known
from fastconv._overloads.arrays import delivery, images_reader, shape_of, sizes_of
from fastconv._overloads.pool import full_shape
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked, strict_helper
from fastconv.errors import ShapeError


@linked
def means(x):
    """The means (N, C, 1, 1) of planes x (N, C, H, W)."""
    N, C, H, W = x.shape
    y = np.empty((N, C, 1, 1), x.dtype)
    for n in range(N):
        for c in range(C):
            total = 0.0
            for iy in range(H):
                for ix in range(W):
                    total += x[n, c, iy, ix]
            y[n, c, 0, 0] = total / (H * W)
    return y


@linked
def shared_out(where, g, H, W):
    """Planes (N, C, H, W) over which each value of g (N, C, 1, 1) is shared out."""
    N, C, _, _ = g.shape
    check_memory(where, "grad_x", (N, C, H, W), g.itemsize)
    grad = np.empty((N, C, H, W), g.dtype)
    for n in range(N):
        for c in range(C):
            grad[n, c] = g[n, c, 0, 0] / g.dtype.type(H * W)
    return grad


@strict_helper
def _check(where, image, shape):
    if min(image[1], image[2], image[3]) < 1:
        raise ShapeError("{}: x must have at least one channel and one pixel, got shape {}", where, shape)


def pixels_checker(where: str, x: Any, layout: Any) -> tuple[str, Any]:
    """The layout, and the function that raises a ShapeError unless x has a pixel and a channel."""
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "x", arguments.array(where, "x", x))
    sizes = sizes_of(x.ndim, order)
    return order, register_jitable(lambda x: _check(where, sizes(x.shape), x.shape))


@compiled_as(functional.global_avg_pool2d)
def _global_avg_pool2d(x: Any, layout: Any) -> Any:
    order, check = pixels_checker("global_avg_pool2d", x, layout)
    read, deliver = images_reader(x, arguments.result_dtype(x), order), delivery(x.ndim, order)

    def compiled(x, layout):
        check(x)
        return deliver(means(read(x)), None)

    return compiled


@compiled_as(functional.global_avg_pool2d_backward)
def _global_avg_pool2d_backward(grad_output: Any, input_shape: Any, layout: Any) -> Any:
    where = "global_avg_pool2d_backward"
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "grad_output", arguments.array(where, "grad_output", grad_output))
    full = full_shape(where, "input_shape", input_shape, "grad_output", grad_output, order)
    read = images_reader(grad_output, arguments.result_dtype(grad_output), order)
    deliver, final = delivery(grad_output.ndim, order), shape_of(grad_output.ndim, order)

    def compiled(grad_output, input_shape, layout):
        N, C, H, W = full(grad_output, input_shape)
        same_shape(where, "grad_output", grad_output, final((N, C, 1, 1)))
        return deliver(shared_out(where, read(grad_output), H, W), None)

    return compiled
