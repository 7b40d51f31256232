"""Convolutions, of images and of signals, and transposed ones, in jitted code, and conv_output_shape.

Signals are images of one row. A transposed convolution is what a convolution's gradients compute, with x and
grad_output in each other's place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import layout_argument
from fastconv._engine.planes import to_channels_last
from fastconv._engine.products import convolve, input_gradient, weight_gradient
from fastconv._engine.weight_gradient import bias_gradient
from fastconv._geometry.conv import checked_conv, checked_output
from fastconv._geometry.conv_transpose import checked_conv_transpose
from fastconv._overloads import arguments
from fastconv._overloads.arguments import if_wanted, int2, is_none, known, margins, wanted
from fastconv._overloads.arrays import (
    batch_reader,
    check_out,
    form_of,
    images_reader,
    new_array,
    reader,
    reshaped,
    result,
)
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked
from fastconv.errors import ShapeError
from fastconv.functional.conv_transpose import AXES

NOTHING, ONE_ROW = (np.int64(0), np.int64(0)), np.int64(1)


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


@register_jitable
def _outputs(N, conv):
    return N, conv.OC, conv.rows.out, conv.columns.out


@register_jitable
def _inputs(N, conv):
    return N, conv.C, conv.rows.size, conv.columns.size


def bias_reader(where: str, bias: Any, dtype: np.dtype) -> tuple[Any, Any]:
    """The functions that give the length of a bias, -1 for none, and the bias itself, without elements for none."""
    if is_none(bias):
        element = dtype.type
        return register_jitable(lambda b: np.int64(-1)), register_jitable(lambda b: np.empty(0, element))
    arguments.rank(where, "bias", bias, 1, "(OC,)")
    return register_jitable(lambda b: np.int64(b.size)), reader(bias, dtype)


def forward_of(where: str, x: Any, weight: Any, bias: Any, layout: str, out: Any, transposed: bool = False) -> Any:
    """The function of arrays and options in their plain form that gives a convolution, or a transposed one."""
    dtype = arguments.result_dtype(x, weight, arguments.optional_array(where, "bias", bias))
    given = check_out(where, out, dtype, x.ndim)
    form, kernel = form_of(x.ndim, layout), form_of(weight.ndim, layout)
    biases, read_bias = bias_reader(where, bias, dtype)
    moves, last, zero = transposed and form.moved, form.moved and not transposed, dtype.type(0)
    read = images_reader if moves else batch_reader
    read_x, read_weight, begin = read(x, dtype, layout), read(weight, dtype, layout), result(dtype, given)
    check, shape, compute = (
        (transposed_sizes, _inputs, input_gradient) if transposed else (sizes, _outputs, convolve)
    )  # fmt: skip
    image_sizes, weight_sizes, own_shape, batched = form.sizes, kernel.sizes, form.shape, form.batched

    def in_order(where, N, conv, x, weight, bias, y):
        compute(where, conv, last, x, weight, bias, reshaped(y, batched(y.shape)))

    def moved(where, N, conv, x, weight, bias, y):
        first = new_array(where, shape(N, conv), zero)
        compute(where, conv, last, x, weight, bias, first)
        to_channels_last(first, reshaped(y, batched(y.shape)))

    run = register_jitable(moved if moves else in_order)

    def convolution(x, weight, bias, steps, margins, groups, out):
        image = image_sizes(x.shape)
        conv = check(where, image, weight_sizes(weight.shape), biases(bias), steps, margins, groups)
        y = begin(where, own_shape(shape(image[0], conv)), out, x, weight, bias)
        run(where, image[0], conv, read_x(x), read_weight(weight), read_bias(bias), y)
        return y

    return register_jitable(convolution)


def backward_of(
    where: str, g: Any, x: Any, weight: Any, layout: str, needs: Any, transposed: bool = False
) -> Any:  # fmt: skip
    """The function of arrays and options in their plain form that gives the gradients that are needed, or None."""
    wants = wanted(where, needs)
    dtype = arguments.result_dtype(x, weight, arguments.gradient(where, g, x.ndim))
    form, kernel = form_of(x.ndim, layout), form_of(weight.ndim, layout)
    moves, last = transposed and form.moved, form.moved and not transposed
    read = images_reader if moves else batch_reader
    read_x, read_weight, read_g = (read(kind, dtype, layout) for kind in (x, weight, g))
    check, shape = (transposed_sizes, _inputs) if transposed else (sizes, _outputs)
    image_sizes, weight_sizes, own_shape = form.sizes, kernel.sizes, form.shape
    zero, element = dtype.type(0), dtype.type

    def gradient_of_x(where, conv, g, x, weight):
        grad = new_array(where, x.shape, zero)
        if transposed:
            convolve(where, conv, last, g, weight, np.empty(0, element), grad)
        else:
            input_gradient(where, conv, last, g, weight, np.empty(0, element), grad)
        return own_x(grad)

    def gradient_of_weight(where, conv, g, x, weight):
        grad = new_array(where, weight.shape, zero)
        if transposed:
            weight_gradient(where, conv, last, x, g, grad)
        else:
            weight_gradient(where, conv, last, g, x, grad)
        return own_weight(grad)

    def gradient_of_bias(where, conv, g, x, weight):
        grad = np.empty(conv.C if transposed else conv.OC, element)
        bias_gradient(g, last, grad)
        return grad

    own_x, own_weight = _own(x.ndim, layout, moves), _own(weight.ndim, layout, moves)
    of_x, of_weight, of_bias = map(if_wanted, wants, (gradient_of_x, gradient_of_weight, gradient_of_bias))

    def gradients(grad_output, x, weight, steps, margins, groups):
        image = image_sizes(x.shape)
        conv = check(where, image, weight_sizes(weight.shape), np.int64(-1), steps, margins, groups)
        same_shape(where, "grad_output", grad_output, own_shape(shape(image[0], conv)))
        g, images, kernels = read_g(grad_output), read_x(x), read_weight(weight)
        return (
            of_x(where, conv, g, images, kernels),
            of_weight(where, conv, g, images, kernels),
            of_bias(where, conv, g, images, kernels),
        )

    return register_jitable(gradients)


def _own(ndim: int, layout: str, moves: bool) -> Any:
    """The function that gives an array with all four axes, in NCHW order where it `moves`, as the caller has it."""
    form = form_of(ndim, layout)
    shape, batched = form.shape, form.batched

    def moved(a):
        y = np.empty(shape(a.shape), a.dtype)
        to_channels_last(a, reshaped(y, batched(y.shape)))
        return y

    if moves:
        return register_jitable(moved)
    if ndim == 4:
        return register_jitable(lambda a: a)
    if layout == "NCL":
        return register_jitable(lambda a: reshaped(a, shape(a.shape)))
    return register_jitable(lambda a: a[0])


def _checked(
    where: str, x: Any, weight: Any, layout: Any, pairs: dict[str, Any], padding: Any, groups: Any,
    axes: str = "OC, C/groups, KH, KW",
) -> str:  # fmt: skip
    """Raise an error unless the types of a convolution's arguments are right; the layout."""
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "x", arguments.array(where, "x", x))
    arguments.rank(where, "weight", arguments.array(where, "weight", weight), 4, f"({axes})")
    arguments.some_padding(where, padding)
    for name, value in pairs.items():
        arguments.whole_pair(where, name, value)
    arguments.whole(where, "groups", groups)
    return order


@compiled_as(functional.conv_output_shape)
def _conv_output_shape(input_shape: Any, weight_shape: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    where = "conv_output_shape"
    for name, kind in (("input_shape", input_shape), ("weight_shape", weight_shape)):
        arguments.whole_sizes(where, name, kind, (4,))
    for name, kind in (("stride", stride), ("dilation", dilation)):
        arguments.whole_pair(where, name, kind)
    arguments.some_padding(where, padding)

    def compiled(input_shape, weight_shape, stride, padding, dilation):
        N, C, H, W = input_shape
        OC, channels, KH, KW = weight_shape
        image = np.int64(N), np.int64(C), np.int64(H), np.int64(W)
        kernels = np.int64(OC), np.int64(channels), np.int64(KH), np.int64(KW)
        return checked_output(where, image, kernels, int2(stride), margins(where, padding), int2(dilation))

    return compiled


@compiled_as(functional.conv2d)
def _conv2d(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any, layout: Any, algorithm: Any,
    out: Any,
) -> Any:  # fmt: skip
    where = "conv2d"
    way = known(where, "algorithm", algorithm)
    if not isinstance(way, str) or way not in ("auto", "direct"):
        raise ValueError(f"{where}: algorithm must be auto or direct inside jitted code, got {way!r}")
    order = _checked(where, x, weight, layout, {"stride": stride, "dilation": dilation}, padding, groups)
    convolution = forward_of(where, x, weight, bias, order, out)

    def compiled(x, weight, bias, stride, padding, dilation, groups, layout, algorithm, out):
        steps = int2(stride), NOTHING, int2(dilation)
        return convolution(x, weight, bias, steps, margins(where, padding), np.int64(groups), out)

    return compiled


@compiled_as(functional.conv2d_backward)
def _conv2d_backward(
    grad_output: Any, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any, layout: Any,
    needs: Any,
) -> Any:  # fmt: skip
    where = "conv2d_backward"
    order = _checked(where, x, weight, layout, {"stride": stride, "dilation": dilation}, padding, groups)
    gradients = backward_of(where, grad_output, x, weight, order, needs)

    def compiled(grad_output, x, weight, stride, padding, dilation, groups, layout, needs):
        steps = int2(stride), NOTHING, int2(dilation)
        return gradients(grad_output, x, weight, steps, margins(where, padding), np.int64(groups))

    return compiled


@compiled_as(functional.conv_transpose2d)
def _conv_transpose2d(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any,
    layout: Any, out: Any,
) -> Any:  # fmt: skip
    where = "conv_transpose2d"
    pairs = {"stride": stride, "dilation": dilation, "output_padding": output_padding}
    order = _checked(where, x, weight, layout, pairs, padding, groups, AXES)
    convolution = forward_of(where, x, weight, bias, order, out, transposed=True)

    def compiled(x, weight, bias, stride, padding, output_padding, groups, dilation, layout, out):
        steps = int2(stride), int2(output_padding), int2(dilation)
        return convolution(x, weight, bias, steps, margins(where, padding), np.int64(groups), out)

    return compiled


@compiled_as(functional.conv_transpose2d_backward)
def _conv_transpose2d_backward(
    grad_output: Any, x: Any, weight: Any, stride: Any, padding: Any, output_padding: Any, groups: Any, dilation: Any,
    layout: Any, needs: Any,
) -> Any:  # fmt: skip
    where = "conv_transpose2d_backward"
    pairs = {"stride": stride, "dilation": dilation, "output_padding": output_padding}
    order = _checked(where, x, weight, layout, pairs, padding, groups, AXES)
    gradients = backward_of(where, grad_output, x, weight, order, needs, transposed=True)

    def compiled(grad_output, x, weight, stride, padding, output_padding, groups, dilation, layout, needs):
        steps = int2(stride), int2(output_padding), int2(dilation)
        return gradients(grad_output, x, weight, steps, margins(where, padding), np.int64(groups))

    return compiled
