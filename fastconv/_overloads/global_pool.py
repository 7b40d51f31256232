"""global_avg_pool2d and its gradient in jitted code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.global_pool import share_out
from fastconv._overloads import arguments
from fastconv._overloads.arguments import images_order
from fastconv._overloads.arrays import delivery, images_reader, new_array, shape_of, sizes_of
from fastconv._overloads.register import compiled_as
from fastconv._overloads.shaped import shaped
from fastconv.errors import ShapeError
from fastconv.kernels.global_pool import forward


def pixels_checker(where: str, x: Any, layout: Any) -> tuple[str, Callable]:
    """The layout, and the function that raises a ShapeError unless x has a pixel and a channel."""
    order = images_order(where, "x", x, layout)
    sizes = sizes_of(x.ndim, order)

    def check(x):
        _, C, H, W = sizes(x.shape)
        if min(C, H, W) < 1:
            raise ShapeError("{}: x must have at least one channel and one pixel, got shape {}", where, x.shape)

    return order, register_jitable(check)


@compiled_as(functional.global_avg_pool2d)
def _global_avg_pool2d(x: Any, layout: Any) -> Any:
    where, dtype = "global_avg_pool2d", arguments.result_dtype(arguments.array("global_avg_pool2d", "x", x))
    order, check = pixels_checker(where, x, layout)
    read, deliver, zero = images_reader(x, dtype, order), delivery(x.ndim, order), dtype.type(0)

    def compiled(x, layout):
        check(x)
        images = read(x)
        y = new_array(where, (images.shape[0], images.shape[1], 1, 1), zero)
        forward(images, y)
        return deliver(y, None)

    return compiled


@compiled_as(functional.global_avg_pool2d_backward)
def _global_avg_pool2d_backward(grad_output: Any, input_shape: Any, layout: Any) -> Any:
    where = "global_avg_pool2d_backward"
    read, full, deliver, order = shaped(where, grad_output, input_shape, layout)
    final = shape_of(grad_output.ndim, order)

    def compiled(grad_output, input_shape, layout):
        shape = full(grad_output, input_shape)
        same_shape(where, "grad_output", grad_output, final((shape[0], shape[1], 1, 1)))
        return deliver(share_out(where, read(grad_output), shape), None)

    return compiled
