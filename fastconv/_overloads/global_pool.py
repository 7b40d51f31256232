"""global_avg_pool2d and its gradient in jitted code."""

from __future__ import annotations

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.global_pool import share_out
from fastconv._overloads.arrays import new_array, zero_of
from fastconv._overloads.images import as_given, check_pixels, full_shape, images, shape_as
from fastconv._overloads.register import compiled_as
from fastconv.kernels.global_pool import forward


@compiled_as(functional.global_avg_pool2d)
def _global_avg_pool2d(x, layout):
    where, zero = "global_avg_pool2d", zero_of(x)
    check_pixels(where, x, layout)
    values = images(x, zero, layout)
    y = new_array(where, (values.shape[0], values.shape[1], 1, 1), zero)
    forward(values, y)
    return as_given(y, x.shape, layout)


@compiled_as(functional.global_avg_pool2d_backward)
def _global_avg_pool2d_backward(grad_output, input_shape, layout):
    where = "global_avg_pool2d_backward"
    shape = full_shape(where, "input_shape", input_shape, "grad_output", grad_output, layout)
    same_shape(where, "grad_output", grad_output, shape_as((shape[0], shape[1], 1, 1), grad_output.shape, layout))
    g = images(grad_output, zero_of(grad_output), layout)
    return as_given(share_out(where, g, shape), grad_output.shape, layout)
