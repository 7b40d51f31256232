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
from fastconv._overloads.arrays import new_array, ready, result, zero_of
from fastconv._overloads.images import first, images, is_last, put, shape_as, sizes_of, with_batch
from fastconv._overloads.kinds import constant, optional, ranked, sized, value_of
from fastconv._overloads.register import by_values, compiled_as, text
from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.functional.conv_transpose import AXES

NOTHING = np.int64(0), np.int64(0)
WEIGHT = ranked("4 dimensions (OC, C/groups, KH, KW), got {}", 4)
TRANSPOSED_WEIGHT = ranked(f"4 dimensions ({AXES}), got {{}}", 4)
BIAS = optional(ranked("1 dimensions (OC,), got {}", 1))


@linked
def sizes(where, image, weight, biases, steps, margins, groups):
    """A convolution's sizes, all checked; `biases` is -1 for none, `steps` are stride, output_padding and dilation."""
    if biases >= 0 and biases != weight[0]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (weight[0],), (biases,))
    return checked_conv(where, (image[1], image[2], image[3]), weight, steps[0], margins, steps[2], groups)


@linked
def transposed_sizes(where, image, weight, biases, steps, margins, groups):
    """The sizes of the convolution whose input gradient a transposed convolution is."""
    image = image[1], image[2], image[3]
    conv = checked_conv_transpose(where, image, weight, steps[0], margins, steps[1], groups, steps[2])
    if biases >= 0 and biases != conv.C:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (conv.C,), (biases,))
    return conv


@jitable
def _outputs(N, conv):
    return N, conv.OC, conv.rows.out, conv.columns.out


@jitable
def _inputs(N, conv):
    return N, conv.C, conv.rows.size, conv.columns.size


@jitable
def _count(bias):
    return np.int64(-1) if bias is None else np.int64(bias.size)


@text
def convolution(where, x, weight, bias, steps, margins, groups, layout, out):
    """The convolution, of options in their plain form."""
    zero, image, kernels = zero_of(x, weight, bias), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
    conv = sizes(where, image, kernels, _count(bias), steps, margins, groups)
    y = result(where, shape_as(_outputs(image[0], conv), x.shape, layout), zero, out, x, weight, bias)
    values, taps = with_batch(ready(x, zero), layout), with_batch(ready(weight, zero), layout)
    convolve(where, conv, is_last(layout), values, taps, ready(bias, zero), with_batch(y, layout))
    return y


@text
def gradients(where, g, x, weight, steps, margins, groups, layout, needs):
    """The convolution's gradients that are needed, None for others."""
    zero, image, kernels = zero_of(x, weight, g), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
    conv = sizes(where, image, kernels, np.int64(-1), steps, margins, groups)
    same_shape(where, "grad_output", g, shape_as(_outputs(image[0], conv), x.shape, layout))
    grads = new_gradients(where, needs, x.shape, weight.shape, conv.OC, zero)
    values, taps = with_batch(ready(x, zero), layout), with_batch(ready(weight, zero), layout)
    _fill(where, conv, layout, with_batch(ready(g, zero), layout), values, taps, grads[0], grads[1], grads[2])
    return grads


@text
def _fill(where, conv, layout, g, x, weight, grad_x, grad_weight, grad_bias):
    last = is_last(layout)
    if grad_x is not None:
        input_gradient(where, conv, last, g, weight, np.empty(0, g.dtype), with_batch(grad_x, layout))
    if grad_weight is not None:
        weight_gradient(where, conv, last, g, x, with_batch(grad_weight, layout))
    if grad_bias is not None:
        bias_gradient(g, last, grad_bias)


@by_values
def new_gradient(where, needs, which, shape, zero):
    """A new array for a gradient of x, weight and bias, by its number, or None where it is not needed."""
    value = value_of(needs)
    if value is not None and not value[value_of(which)]:
        return lambda where, needs, which, shape, zero: None
    return lambda where, needs, which, shape, zero: new_array(where, shape, zero)


@text
def new_gradients(where, needs, x_shape, weight_shape, biases, zero):
    """New arrays for the gradients of x, weight and bias that are needed, None for others."""
    grad_x, grad_weight = (
        new_gradient(where, needs, 0, x_shape, zero),
        new_gradient(where, needs, 1, weight_shape, zero),
    )
    return grad_x, grad_weight, new_gradient(where, needs, 2, (biases,), zero)


@text
def transposed(where, x, weight, bias, steps, margins, groups, layout, out):
    """The transposed convolution, of options in their plain form."""
    zero, image, kernels = zero_of(x, weight, bias), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
    conv = transposed_sizes(where, image, kernels, _count(bias), steps, margins, groups)
    own = result(where, shape_as(_inputs(image[0], conv), x.shape, layout), zero, out, x, weight, bias)
    y = first(where, own, layout)
    values, taps = images(x, zero, layout), images(weight, zero, layout)
    input_gradient(where, conv, False, values, taps, ready(bias, zero), y)
    return put(y, own, layout)


@text
def transposed_gradients(where, g, x, weight, steps, margins, groups, layout, needs):
    """The transposed convolution's gradients that are needed, None for others."""
    zero, image, kernels = zero_of(x, weight, g), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
    conv = transposed_sizes(where, image, kernels, np.int64(-1), steps, margins, groups)
    same_shape(where, "grad_output", g, shape_as(_inputs(image[0], conv), x.shape, layout))
    grads = new_gradients(where, needs, x.shape, weight.shape, conv.C, zero)
    values, taps = images(x, zero, layout), images(weight, zero, layout)
    _fill_transposed(where, conv, layout, images(g, zero, layout), values, taps, grads[0], grads[1], grads[2])
    return grads


@text
def _fill_transposed(where, conv, layout, g, x, weight, grad_x, grad_weight, grad_bias):
    if grad_x is not None:
        found = first(where, grad_x, layout)
        convolve(where, conv, False, g, weight, np.empty(0, g.dtype), found)
        put(found, grad_x, layout)
    if grad_weight is not None:
        taps = first(where, grad_weight, layout)
        weight_gradient(where, conv, False, x, g, taps)
        put(taps, grad_weight, layout)
    if grad_bias is not None:
        bias_gradient(g, False, grad_bias)


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
    where, steps = "conv2d", (int2(stride), NOTHING, int2(dilation))
    return convolution(where, x, weight, bias, steps, margins(where, padding), np.int64(groups), layout, out)


@compiled_as(functional.conv2d_backward, weight=WEIGHT)
def _conv2d_backward(grad_output, x, weight, stride, padding, dilation, groups, layout, needs):
    where, steps = "conv2d_backward", (int2(stride), NOTHING, int2(dilation))
    pads = margins(where, padding)
    return gradients(where, grad_output, x, weight, steps, pads, np.int64(groups), layout, needs)


@compiled_as(functional.conv_transpose2d, weight=TRANSPOSED_WEIGHT, bias=BIAS)
def _conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out):
    where, steps = "conv_transpose2d", (int2(stride), int2(output_padding), int2(dilation))
    return transposed(where, x, weight, bias, steps, margins(where, padding), np.int64(groups), layout, out)


@compiled_as(functional.conv_transpose2d_backward, weight=TRANSPOSED_WEIGHT)
def _conv_transpose2d_backward(
    grad_output, x, weight, stride, padding, output_padding, groups, dilation, layout, needs
):  # fmt: skip
    where, steps = "conv_transpose2d_backward", (int2(stride), int2(output_padding), int2(dilation))
    pads = margins(where, padding)
    return transposed_gradients(where, grad_output, x, weight, steps, pads, np.int64(groups), layout, needs)
