"""Convolutions in jitted code: of images, of signals and of plain arrays, and transposed ones; conv_output_shape.

Signals are images of one row. A transposed convolution is what a convolution's gradients compute, with x and
grad_output in each other's place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import NAMED_PADDINGS
from fastconv._engine.products import convolve, convolve_by, input_gradient, weight_gradient
from fastconv._engine.weight_gradient import bias_gradient
from fastconv._geometry.conv import checked_conv, checked_output
from fastconv._geometry.conv_transpose import checked_conv_transpose
from fastconv._overloads import kinds
from fastconv._overloads.arguments import int2, int4, margins, new_gradients, ready, result, zero_of
from fastconv._overloads.images import first, images, is_last, put, shape_as, sizes_of
from fastconv._overloads.kinds import alone, constant, optional, ranked, sized, value_of, whole, whole_pair
from fastconv._overloads.register import by_types, by_values, compiled_as, text
from fastconv._plans.forward import ALWAYS, NEVER
from fastconv._runtime.jit import jitable, linked, strict_helper
from fastconv.errors import ShapeError
from fastconv.functional.conv_transpose import AXES
from fastconv.functional.correlate import checked_mode, covers, padding_of

WEIGHT = ranked("4 dimensions (OC, C/groups, KH, KW), got {}", 4)
TRANSPOSED_WEIGHT = ranked(f"4 dimensions ({AXES}), got {{}}", 4)
BIAS = optional(ranked("1 dimensions (OC,), got {}", 1))
SHAPE, RANK = "shape (OC, C/groups, K) without a zero, got", "2 dimensions without a zero, got shape"
PLANE = ranked("2 dimensions without a zero, got {}", 2)
jitable(covers)


@linked
def sizes(where, image, weight, biases, options):
    """A convolution's sizes, all checked, and its result's shape; `biases` is -1 for none."""
    if biases >= 0 and biases != weight[0]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (weight[0],), (biases,))
    conv = checked_conv(where, (image[1], image[2], image[3]), weight, *options)
    return conv, (image[0], conv.OC, conv.rows.out, conv.columns.out)


@linked
def transposed_sizes(where, image, weight, biases, options):
    """The sizes of the convolution whose input gradient a transposed one is, and the shape of that one's result."""
    conv = checked_conv_transpose(where, (image[1], image[2], image[3]), weight, *options)
    if biases >= 0 and biases != conv.C:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (conv.C,), (biases,))
    return conv, (image[0], conv.C, conv.rows.size, conv.columns.size)


@jitable
def _size(bias):
    return np.int64(-1) if bias is None else np.int64(bias.size)


def _by(winograd: int) -> Callable:
    return text(lambda where, conv, last, x, w, bias, y: convolve_by(where, conv, last, x, w, bias, y, winograd))


# what computes a convolution, by the algorithm
COMPUTE: dict[str, Callable] = {"auto": convolve, "direct": _by(NEVER), "winograd": _by(ALWAYS)}


@by_values
def convolution(where, x, weight, bias, options, layout, order, algorithm, out):
    """The convolution of these options, in the order of `checked_conv`, or the transposed one, of one option more.

    `order` is the layout of arrays that are brought into NCHW order for it; it is not NHWC where they stay as they are.
    """
    check, compute = (sizes, COMPUTE[value_of(algorithm)]) if len(options) == 4 else (transposed_sizes, input_gradient)

    def run(where, x, weight, bias, options, layout, order, algorithm, out):
        zero, image, kernels = zero_of(x, weight, bias), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
        conv, shape = check(where, image, kernels, _size(bias), options)
        own = result(where, shape_as(shape, x.shape, layout), zero, out, x, weight, bias)
        values, taps, y = images(x, zero, order), images(weight, zero, order), first(own, order)
        compute(where, conv, is_last(layout, order), values, taps, ready(bias, zero), y)
        return put(y, own, order)

    return run


@by_values
def gradients(where, g, x, weight, options, layout, order, needs):
    """The gradients that are needed, None for others, of a `convolution`."""
    plain = len(options) == 4
    check, compute = (sizes, input_gradient) if plain else (transposed_sizes, convolve)

    @text
    def fill(where, conv, last, order, g, x, weight, grad_x, grad_weight, grad_bias):
        if grad_x is not None:
            found = first(grad_x, order)
            compute(where, conv, last, g, weight, np.empty(0, g.dtype), found)
            put(found, grad_x, order)
        if grad_weight is not None:
            taps = first(grad_weight, order)
            weight_gradient(where, conv, last, g if plain else x, x if plain else g, taps)
            put(taps, grad_weight, order)
        if grad_bias is not None:
            bias_gradient(g, last, grad_bias)

    def run(where, g, x, weight, options, layout, order, needs):
        zero, image, kernels = zero_of(x, weight, g), sizes_of(x.shape, layout), sizes_of(weight.shape, layout)
        conv, shape = check(where, image, kernels, np.int64(-1), options)
        same_shape(where, "grad_output", g, shape_as(shape, x.shape, layout))
        grads, last = new_gradients(where, needs, x.shape, weight.shape, shape[1], zero), is_last(layout, order)
        grad, values, taps = images(g, zero, order), images(x, zero, order), images(weight, zero, order)
        fill(where, conv, last, order, grad, values, taps, grads[0], grads[1], grads[2])
        return grads

    return run


@compiled_as(functional.conv_output_shape, input_shape=sized(4), weight_shape=sized(4))
def _conv_output_shape(input_shape, weight_shape, stride, padding, dilation, where):
    image, kernels = int4(input_shape), int4(weight_shape)
    return checked_output(where, image, kernels, int2(stride), margins(where, padding), int2(dilation))


def _algorithm(where: str, value: Any) -> None:
    if not isinstance(value, str) or value not in COMPUTE:
        raise ValueError(f"{where}: algorithm must be one of {', '.join(COMPUTE)} inside jitted code, got {value!r}")


@compiled_as(functional.conv2d, weight=WEIGHT, bias=BIAS, algorithm=constant(_algorithm))
def _conv2d(x, weight, bias, stride, padding, dilation, groups, layout, algorithm, out, where):
    options = int2(stride), margins(where, padding), int2(dilation), np.int64(groups)
    return convolution(where, x, weight, bias, options, layout, "NCHW", algorithm, out)


@compiled_as(functional.conv2d_backward, weight=WEIGHT)
def _conv2d_backward(grad_output, x, weight, stride, padding, dilation, groups, layout, needs, where):
    options = int2(stride), margins(where, padding), int2(dilation), np.int64(groups)
    return gradients(where, grad_output, x, weight, options, layout, "NCHW", needs)


@compiled_as(functional.conv_transpose2d, weight=TRANSPOSED_WEIGHT, bias=BIAS)
def _conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out, where):
    options = int2(stride), margins(where, padding), int2(output_padding), np.int64(groups), int2(dilation)
    return convolution(where, x, weight, bias, options, layout, layout, "auto", out)


@compiled_as(functional.conv_transpose2d_backward, weight=TRANSPOSED_WEIGHT)
def _transposed_backward(
    grad_output, x, weight, stride, padding, output_padding, groups, dilation, layout, needs, where
):
    options = int2(stride), margins(where, padding), int2(output_padding), np.int64(groups), int2(dilation)
    return gradients(where, grad_output, x, weight, options, layout, layout, needs)


@strict_helper
def _check(where, name, text, a):
    if min(a.shape) < 1:
        raise ShapeError("{}: {} must have {} {}", where, name, text, a.shape)


@by_types
def across(value):
    """An integer, alone or in a tuple, as the horizontal one of two."""
    if isinstance(value, types.BaseTuple):
        return lambda value: (np.int64(1), np.int64(value[0]))
    return lambda value: (np.int64(1), np.int64(value))


def _is_name(kind: Any) -> bool:
    return isinstance(kind, types.UnicodeType) or isinstance(value_of(kind), str)


@by_values
def beside(where, padding):
    """A signal's padding as `sizes.Margins` of an image with one row."""
    if _is_name(padding):
        return lambda where, padding: margins(where, padding)
    if isinstance(padding, types.BaseTuple) and len(padding) == 1:
        return lambda where, padding: margins(where, ((0, 0), int2(padding[0])))
    return lambda where, padding: margins(where, ((0, 0), int2(padding)))


def _padding(where: str, name: str, call: kinds.Call) -> None:
    (kinds.padding if _is_name(call[name]) else alone(whole_pair))(where, name, call)


SIGNALS = {
    "x": ranked("3 dimensions, or 2 without a batch, got {}", 2, 3),
    "weight": ranked("3 dimensions (OC, C/groups, K), got {}", 3),
    "stride": alone(whole), "padding": _padding, "dilation": alone(whole),
}  # fmt: skip


@compiled_as(functional.conv1d, bias=BIAS, **SIGNALS)
def _conv1d(x, weight, bias, stride, padding, dilation, groups, where):
    _check(where, "weight", SHAPE, weight)
    options = across(stride), beside(where, padding), across(dilation), np.int64(groups)
    return convolution(where, x, weight, bias, options, "NCL", "NCL", "auto", None)


@compiled_as(functional.conv1d_backward, **SIGNALS)
def _conv1d_backward(grad_output, x, weight, stride, padding, dilation, groups, needs, where):
    _check(where, "weight", SHAPE, weight)
    options = across(stride), beside(where, padding), across(dilation), np.int64(groups)
    return gradients(where, grad_output, x, weight, options, "NCL", "NCL", needs)


@strict_helper
def _slid(where, x, kernel, padding):
    none, one = (np.int64(0), np.int64(0)), np.int64(1)
    image, weight = (one, x.shape[0], x.shape[1]), (one, one, kernel.shape[0], kernel.shape[1])
    conv = checked_conv(where, image, weight, (one, one), (padding, (none, none)), (one, one), one)
    y = np.empty((1, 1, conv.rows.out, conv.columns.out), x.dtype)
    convolve(where, conv, False, x.reshape((1, *image)), kernel.reshape(weight), np.empty(0, x.dtype), y)
    return y[0, 0]


@linked
def slide(where, x, kernel, padding, valid, flips):
    """The kernel slid over x, flipped where `flips`; where `valid`, the smaller of the two over the larger."""
    _check(where, "x", RANK, x)
    _check(where, "kernel", RANK, kernel)
    swaps = valid and covers(kernel, x)
    a, b = (kernel, x) if swaps else (x, kernel)
    if flips:
        return _slid(where, a, np.ascontiguousarray(b[::-1, ::-1]), padding)
    y = _slid(where, a, b, padding)
    return np.ascontiguousarray(y[::-1, ::-1]) if swaps else y


@by_values
def way(mode, flips):
    """The number of the padding that a mode stands for, and whether that is "valid"."""
    name = padding_of(value_of(mode), value_of(flips))
    padding, valid = np.int64(NAMED_PADDINGS.index(name)), name == "valid"
    return lambda mode, flips: (padding, valid)


def _register(function: Callable, flips: bool) -> None:
    @compiled_as(function, x=PLANE, kernel=PLANE, mode=constant(checked_mode))
    def compiled(x, kernel, mode, where):
        zero, (padding, valid) = zero_of(x, kernel), way(mode, flips)
        return slide(where, ready(x, zero), ready(kernel, zero), padding, valid, flips)


_register(functional.correlate2d, False)
_register(functional.convolve2d, True)
