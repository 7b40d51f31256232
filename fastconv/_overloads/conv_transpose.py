"""conv_transpose2d and its gradients in jitted code: those of conv2d with x and grad_output in each other's place."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._geometry.conv_transpose import conv_transpose_axes
from fastconv._overloads import arguments
from fastconv._overloads.arguments import check_steps, int2, margins
from fastconv._overloads.arrays import check_out, delivery, images_reader, new_images, shape_of, sizes_of, target
from fastconv._overloads.conv import bias_reader, checked, convolve
from fastconv._overloads.conv_backward import grad_bias, grad_weight, if_wanted, spread, wanted
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import strict_helper
from fastconv._runtime.linking import linked
from fastconv.errors import ShapeError
from fastconv.functional.conv_transpose import AXES


@linked
@strict_helper
def sizes(where, image, weight, biases, stride, margins, output_padding, dilation, groups):
    """The shape of the result, and the axes of the convolution whose gradient it is, all checked; as in `conv`."""
    check_steps(where, stride, margins, dilation)
    for i in range(2):
        check_range(where, "output_padding", output_padding[i], 0)
    check_range(where, "groups", groups, 1)
    N, C, H, W = image
    rows, columns = conv_transpose_axes(where, (C, H, W), weight, stride, margins, output_padding, groups, dilation)
    OC = weight[1] * groups
    if biases >= 0 and biases != OC:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (OC,), (biases,))
    return (N, OC, rows.size, columns.size), rows, columns


@linked
@strict_helper
def transposed(where, x, weight, bias, rows, columns, groups, y):
    """y = the transposed convolution of x with weight, plus bias, if that has elements."""
    if y.size > 0:
        spread((where, x, weight, bias, rows, columns, groups, y))


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
        shape, rows, columns = sizes(
            (where, image_sizes(x.shape), weight_sizes(weight.shape), biases(bias), int2(stride),
             margins(where, padding), int2(output_padding), int2(dilation), np.int64(groups))
        )  # fmt: skip
        images, kernels = read_x(x), read_weight(weight)
        y = begin(where, shape, out, x, weight, bias)
        transposed((where, images, kernels, read_bias(bias), rows, columns, np.int64(groups), y))
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

    def gradient_of_x(where, x, g, weight, rows, columns, groups):
        grad = new_images((where, x.shape, zero))
        convolve((where, g, weight, np.empty(0, element), rows, columns, groups, grad))
        return deliver_x(grad, None)

    of_x = if_wanted(wants[0], gradient_of_x)
    of_weight = if_wanted(wants[1], lambda *args: deliver_weight(grad_weight(args), None))
    of_bias = if_wanted(wants[2], lambda g: grad_bias((g,)))

    def compiled(grad_output, x, weight, stride, padding, output_padding, groups, dilation, layout, needs):
        shape, rows, columns = sizes(
            (where, image_sizes(x.shape), weight_sizes(weight.shape), np.int64(-1), int2(stride),
             margins(where, padding), int2(output_padding), int2(dilation), np.int64(groups))
        )  # fmt: skip
        same_shape(where, "grad_output", grad_output, final(shape))
        g, images, kernels = read_g(grad_output), read_x(x), read_weight(weight)
        return (
            of_x(where, images, g, kernels, rows, columns, np.int64(groups)),
            of_weight(where, images, g, kernels, rows, columns, np.int64(groups)),
            of_bias(g),
        )

    return compiled
