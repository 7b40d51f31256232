"""conv2d_backward in jitted code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.input_gradient import input_gradient
from fastconv._engine.weight_gradient import bias_gradient, weight_gradient
from fastconv._overloads import arguments
from fastconv._overloads.arguments import int2, known, margins
from fastconv._overloads.arrays import images_reader, new_images, ordered, single_of, sizes_of
from fastconv._overloads.conv import checked, sizes
from fastconv._overloads.register import compiled_as
from fastconv._plans.input_gradient import plan_input_gradient
from fastconv._plans.weight_gradient import plan_weight_gradient
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import linked


@linked
def grad_x(where, conv, last, g, weight, bias, grad) -> None:
    """grad = the gradient of x, plus bias, if that has elements."""
    plan = plan_input_gradient(conv, len(g), g.itemsize, last, HOST)
    input_gradient(where, plan, g, weight, bias if bias.size > 0 else np.zeros(conv.C, g.dtype), grad)


@linked
def grad_weight(where, conv, last, g, x, grad) -> None:
    """grad = the gradient of the weights."""
    weight_gradient(where, plan_weight_gradient(conv, len(g), g.itemsize, last, HOST), g, x, grad)


def wanted(where: str, needs: Any) -> tuple[bool, bool, bool]:
    """`needs`, whose values decide the result's type."""
    value = known(where, "needs", needs)
    if not isinstance(value, tuple) or len(value) != 3:
        raise ValueError(f"{where}: needs must be three booleans (x, weight, bias), got {value!r}")
    return bool(value[0]), bool(value[1]), bool(value[2])


def if_wanted(want: bool, function: Any) -> Any:
    """The function for compiled code, or one that gives None."""
    return register_jitable(function if want else lambda *args: None)


def gradients_of(wants: tuple[bool, bool, bool], dtype: np.dtype, last: bool = False) -> Any:
    """The function that gives the gradients of a convolution that are wanted, of arrays as kernels take them."""
    zero, element = dtype.type(0), dtype.type

    def gradient_of_x(where, conv, g, x, weight):
        grad = new_images(where, x.shape, zero)
        grad_x(where, conv, last, g, weight, np.empty(0, element), grad)
        return grad

    def gradient_of_weight(where, conv, g, x, weight):
        grad = new_images(where, weight.shape, zero)
        grad_weight(where, conv, last, g, x, grad)
        return grad

    def gradient_of_bias(conv, g):
        grad = np.empty(conv.OC, element)
        bias_gradient(g, last, grad)
        return grad

    of_x, of_weight = if_wanted(wants[0], gradient_of_x), if_wanted(wants[1], gradient_of_weight)
    of_bias = if_wanted(wants[2], gradient_of_bias)

    def gradients(where, conv, g, x, weight):
        return of_x(where, conv, g, x, weight), of_weight(where, conv, g, x, weight), of_bias(conv, g)

    return register_jitable(gradients)


@compiled_as(functional.conv2d_backward)
def _conv2d_backward(
    grad_output: Any, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any, layout: Any,
    needs: Any,
) -> Any:  # fmt: skip
    where = "conv2d_backward"
    wants = wanted(where, needs)
    order = checked(where, x, weight, layout, stride, padding, dilation, groups)
    arguments.gradient(where, grad_output, x.ndim)
    dtype = arguments.result_dtype(x, weight, grad_output)
    image_sizes, weight_sizes, shape = sizes_of(x.ndim, order), sizes_of(4, order), ordered(order, x.ndim)
    read_x, read_weight, read_g = (images_reader(kind, dtype) for kind in (x, weight, grad_output))
    gradients, single = gradients_of(wants, dtype, order == "NHWC"), single_of(x.ndim)

    def compiled(grad_output, x, weight, stride, padding, dilation, groups, layout, needs):
        image = image_sizes(x.shape)
        conv = sizes(
            where, image, weight_sizes(weight.shape), np.int64(-1), int2(stride), margins(where, padding),
            int2(dilation), np.int64(groups),
        )  # fmt: skip
        same_shape(where, "grad_output", grad_output, shape(image[0], conv))
        found = gradients(where, conv, read_g(grad_output), read_x(x), read_weight(weight))
        return single(found[0]), found[1], found[2]

    return compiled
