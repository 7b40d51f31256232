"""Convolutions, of images and of signals, and transposed ones, in jitted code, and conv_output_shape.

Signals are images of one row. A transposed convolution is what a convolution's gradients compute, with x and
grad_output in each other's place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.products import convolve, input_gradient, weight_gradient
from fastconv._engine.weight_gradient import bias_gradient
from fastconv._geometry.conv import checked_conv, checked_output
from fastconv._geometry.conv_transpose import checked_conv_transpose
from fastconv._overloads.arguments import int2, int4, margins
from fastconv._overloads.arrays import new_gradients, ready, result, zero_of
from fastconv._overloads.images import first, images, put, shape_as, sizes_of
from fastconv._overloads.kinds import constant, optional, ranked, sized, value_of
from fastconv._overloads.register import by_values, compiled_as, text
from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.functional.conv_transpose import AXES

WEIGHT = ranked("4 dimensions (OC, C/groups, KH, KW), got {}", 4)
TRANSPOSED_WEIGHT = ranked(f"4 dimensions ({AXES}), got {{}}", 4)
BIAS = optional(ranked("1 dimensions (OC,), got {}", 1))


@linked
def sizes(where, image, weight, biases, stride, margins, dilation, groups):
    """A convolution's sizes, all checked, and the shape of its result; `biases` is -1 for none."""
    if biases >= 0 and biases != weight[0]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (weight[0],), (biases,))
    conv = checked_conv(where, (image[1], image[2], image[3]), weight, stride, margins, dilation, groups)
    return conv, (image[0], conv.OC, conv.rows.out, conv.columns.out)


@linked
def transposed_sizes(where, image, weight, biases, stride, margins, dilation, groups, extra):
    """The sizes of the convolution whose input gradient a transposed one is, and the shape of that one's result."""
    images = image[1], image[2], image[3]
    conv = checked_conv_transpose(where, images, weight, stride, margins, extra, groups, dilation)
    if biases >= 0 and biases != conv.C:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (conv.C,), (biases,))
    return conv, (image[0], conv.C, conv.rows.size, conv.columns.size)


@text
def _sizes(where, image, weight, bias, stride, pads, dilation, groups, extra):
    biases = np.int64(-1) if bias is None else np.int64(bias.size)
    step, spread, number = int2(stride), int2(dilation), np.int64(groups)
    if extra is None:
        return sizes(where, image, weight, biases, step, pads, spread, number)
    return transposed_sizes(where, image, weight, biases, step, pads, spread, number, int2(extra))


@jitable
def _product(where, conv, last, back, a, weight, bias, y):
    if back:
        input_gradient(where, conv, last, a, weight, bias, y)
    else:
        convolve(where, conv, last, a, weight, bias, y)


@by_values
def _is_last(layout, order):
    """Whether channels are last, and stay there."""
    last = value_of(layout) == "NHWC" != value_of(order)
    return lambda layout, order: last


@text
def convolution(where, x, weight, bias, stride, pads, dilation, groups, layout, out, order, extra):
    """The convolution or, where the output padding `extra` is not None, the transposed one.

    `order` is the layout for arrays that are brought into NCHW order for it; "NCHW", or "NCL" of signals, for those
    that are taken as they are.
    """
    zero, image, kernels = zero_of(x, weight, bias), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
    conv, shape = _sizes(where, image, kernels, bias, stride, pads, dilation, groups, extra)
    own = result(where, shape_as(shape, x.shape, layout), zero, out, x, weight, bias)
    values, taps, y = images(x, zero, order), images(weight, zero, order), first(where, own, order)
    _product(where, conv, _is_last(layout, order), extra is not None, values, taps, ready(bias, zero), y)
    return put(y, own, order)


@text
def gradients(where, grad_output, x, weight, stride, pads, dilation, groups, layout, needs, order, extra):
    """The gradients that are needed, None for others, of a `convolution` of these options."""
    zero, image, kernels = zero_of(x, weight, grad_output), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
    conv, shape = _sizes(where, image, kernels, None, stride, pads, dilation, groups, extra)
    same_shape(where, "grad_output", grad_output, shape_as(shape, x.shape, layout))
    grads = new_gradients(where, needs, x.shape, weight.shape, shape[1], zero)
    g, values, taps = images(grad_output, zero, order), images(x, zero, order), images(weight, zero, order)
    _fill(where, conv, _is_last(layout, order), order, extra, g, values, taps, grads[0], grads[1], grads[2])
    return grads


@text
def _fill(where, conv, last, order, extra, g, x, weight, grad_x, grad_weight, grad_bias):
    if grad_x is not None:
        found = first(where, grad_x, order)
        _product(where, conv, last, extra is None, g, weight, np.empty(0, g.dtype), found)
        put(found, grad_x, order)
    if grad_weight is not None:
        taps, (a, b) = first(where, grad_weight, order), (g, x) if extra is None else (x, g)
        weight_gradient(where, conv, last, a, b, taps)
        put(taps, grad_weight, order)
    if grad_bias is not None:
        bias_gradient(g, last, grad_bias)


@compiled_as(functional.conv_output_shape, input_shape=sized(4), weight_shape=sized(4))
def _conv_output_shape(input_shape, weight_shape, stride, padding, dilation):
    where = "conv_output_shape"
    image, kernels = int4(input_shape), int4(weight_shape)
    return checked_output(where, image, kernels, int2(stride), margins(where, padding), int2(dilation))


def _algorithm(where: str, value: Any) -> None:
    if not isinstance(value, str) or value not in ("auto", "direct"):
        raise ValueError(f"{where}: algorithm must be auto or direct inside jitted code, got {value!r}")


@compiled_as(functional.conv2d, weight=WEIGHT, bias=BIAS, algorithm=constant(_algorithm))
def _conv2d(x, weight, bias, stride, padding, dilation, groups, layout, algorithm, out):
    where = "conv2d"
    pads = margins(where, padding)
    return convolution(where, x, weight, bias, stride, pads, dilation, groups, layout, out, "NCHW", None)


@compiled_as(functional.conv2d_backward, weight=WEIGHT)
def _conv2d_backward(grad_output, x, weight, stride, padding, dilation, groups, layout, needs):
    where = "conv2d_backward"
    pads = margins(where, padding)
    return gradients(where, grad_output, x, weight, stride, pads, dilation, groups, layout, needs, "NCHW", None)


@compiled_as(functional.conv_transpose2d, weight=TRANSPOSED_WEIGHT, bias=BIAS)
def _conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out):
    where, extra = "conv_transpose2d", output_padding
    pads = margins(where, padding)
    return convolution(where, x, weight, bias, stride, pads, dilation, groups, layout, out, layout, extra)


@compiled_as(functional.conv_transpose2d_backward, weight=TRANSPOSED_WEIGHT)
def _conv_transpose2d_backward(
    grad_output, x, weight, stride, padding, output_padding, groups, dilation, layout, needs
):
    where, extra = "conv_transpose2d_backward", output_padding
    pads = margins(where, padding)
    return gradients(where, grad_output, x, weight, stride, pads, dilation, groups, layout, needs, layout, extra)
