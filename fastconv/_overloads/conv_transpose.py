"""conv_transpose2d and its gradients in jitted code: those of conv2d with x and grad_output in each other's place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._engine.weight_gradient import bias_gradient
from fastconv._geometry.conv import Conv
from fastconv._geometry.conv_transpose import conv_transpose_axes
from fastconv._overloads import arguments
from fastconv._overloads.arguments import check_steps, int2, margins
from fastconv._overloads.arrays import check_out, delivery, images_reader, new_images, shape_of, sizes_of, target
from fastconv._overloads.conv import bias_reader, checked, convolve
from fastconv._overloads.conv_backward import grad_weight, grad_x, if_wanted, wanted
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked
from fastconv.errors import ShapeError
from fastconv.functional.conv_transpose import AXES


@linked
def sizes(where, image, weight, biases, stride, margins, output_padding, dilation, groups):
    """The sizes of the convolution whose gradient it is, all checked; as in `conv`."""
    check_steps(where, stride, margins, dilation)
    for i in range(2):
        check_range(where, "output_padding", output_padding[i], 0)
    check_range(where, "groups", groups, 1)
    _, C, H, W = image
    rows, columns = conv_transpose_axes(where, (C, H, W), weight, stride, margins, output_padding, groups, dilation)
    OC = weight[1] * groups
    if biases >= 0 and biases != OC:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (OC,), (biases,))
    return Conv(OC, C, groups, rows, columns)


@register_jitable
def _result_shape(N, conv):
    return N, conv.C, conv.rows.size, conv.columns.size


@compiled_as(functional.conv_transpose2d)
def _conv_transpose2d(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any,
    layout: Any, out: Any,
) -> Any:  # fmt: skip
    where = "conv_transpose2d"
    order = checked(where, x, weight, layout, stride, padding, dilation, groups, AXES)
    arguments.whole_pair(where, "output_padding", output_padding)
    dtype = arguments.result_dtype(x, weight, arguments.optional_array(where, "bias", bias))
    given = check_out(where, out, dtype, x.ndim)
    image_sizes, weight_sizes = sizes_of(x.ndim, order), sizes_of(4, order)
    read_x, read_weight = images_reader(x, dtype, order), images_reader(weight, dtype, order)
    biases, read_bias = bias_reader(where, bias, dtype)
    begin, deliver = target(dtype, x.ndim, order, given), delivery(x.ndim, order, given)

    def compiled(x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out):
        image = image_sizes(x.shape)
        conv = sizes(
            where, image, weight_sizes(weight.shape), biases(bias), int2(stride), margins(where, padding),
            int2(output_padding), int2(dilation), np.int64(groups),
        )  # fmt: skip
        images, kernels = read_x(x), read_weight(weight)
        y = begin(where, _result_shape(image[0], conv), out, x, weight, bias)
        grad_x(where, conv, False, images, kernels, read_bias(bias), y)
        return deliver(y, out)

    return compiled


@compiled_as(functional.conv_transpose2d_backward)
def _conv_transpose2d_backward(
    grad_output: Any, x: Any, weight: Any, stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any,
    layout: Any, needs: Any,
) -> Any:  # fmt: skip
    where = "conv_transpose2d_backward"
    wants = wanted(where, needs)
    order = checked(where, x, weight, layout, stride, padding, dilation, groups, AXES)
    arguments.whole_pair(where, "output_padding", output_padding)
    arguments.gradient(where, grad_output, x.ndim)
    dtype = arguments.result_dtype(x, weight, grad_output)
    image_sizes, weight_sizes, final = sizes_of(x.ndim, order), sizes_of(4, order), shape_of(x.ndim, order)
    read_x, read_weight, read_g = (images_reader(kind, dtype, order) for kind in (x, weight, grad_output))
    deliver_x, deliver_weight = delivery(x.ndim, order), delivery(4, order)
    zero, element = dtype.type(0), dtype.type

    def gradient_of_x(where, conv, x, g, weight):
        grad = new_images(where, x.shape, zero)
        convolve(where, conv, False, g, weight, np.empty(0, element), grad)
        return deliver_x(grad, None)

    def gradient_of_weight(where, conv, x, g, weight):
        grad = new_images(where, weight.shape, zero)
        grad_weight(where, conv, False, x, g, grad)
        return deliver_weight(grad, None)

    def gradient_of_bias(conv, g):
        grad = np.empty(conv.C, element)
        bias_gradient(g, False, grad)
        return grad

    of_x, of_weight = if_wanted(wants[0], gradient_of_x), if_wanted(wants[1], gradient_of_weight)
    of_bias = if_wanted(wants[2], gradient_of_bias)

    def compiled(grad_output, x, weight, stride, padding, output_padding, groups, dilation, layout, needs):
        image = image_sizes(x.shape)
        conv = sizes(
            where, image, weight_sizes(weight.shape), np.int64(-1), int2(stride), margins(where, padding),
            int2(output_padding), int2(dilation), np.int64(groups),
        )  # fmt: skip
        same_shape(where, "grad_output", grad_output, final(_result_shape(image[0], conv)))
        g, images, kernels = read_g(grad_output), read_x(x), read_weight(weight)
        return of_x(where, conv, images, g, kernels), of_weight(where, conv, images, g, kernels), of_bias(conv, g)

    return compiled
