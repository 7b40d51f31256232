"""conv2d and conv_output_shape in jitted code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.sizes import check_range, layout_argument
from fastconv._engine.forward import forward
from fastconv._geometry.axes import conv_axes
from fastconv._geometry.conv import Conv
from fastconv._overloads import arguments
from fastconv._overloads.arguments import check_steps, int2, is_none, known, margins
from fastconv._overloads.arrays import check_out, delivery, images_reader, ordered, reader, sizes_of, target
from fastconv._overloads.register import compiled_as
from fastconv._plans.forward import plan_forward
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import linked
from fastconv.errors import ShapeError


@linked
def sizes(where, image, weight, biases, stride, margins, dilation, groups):
    """A convolution's sizes, all checked; `biases` is -1 where there is no bias."""
    _, C, H, W = image
    if biases >= 0 and biases != weight[0]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (weight[0],), (biases,))
    check_steps(where, stride, margins, dilation)
    check_range(where, "groups", groups, 1)
    rows, columns = conv_axes(where, (C, H, W), weight, stride, margins, dilation, groups)
    return Conv(C, weight[0], groups, rows, columns)


@linked
def output_shape(where, image, weight, stride, margins, dilation):
    """The result's shape for shapes that are arguments themselves; the groups follow from the channels."""
    for i in range(4):
        check_range(where, "input_shape", image[i], 0)
    for i in range(4):
        check_range(where, "weight_shape", weight[i], 0)
    groups = max(image[1] // max(weight[1], 1), 1)
    conv = sizes(where, image, weight, np.int64(-1), stride, margins, dilation, groups)
    return image[0], conv.OC, conv.rows.out, conv.columns.out


@linked
def convolve(where, conv, last, x, weight, bias, y) -> None:
    """y = the convolution of x with weight, plus bias, if that has elements, with channels `last` or first."""
    if y.size > 0:
        plan = plan_forward(conv, len(x), x.itemsize, last, HOST)
        start = bias if bias.size > 0 else np.zeros(conv.OC, y.dtype)
        forward(where, plan, x, weight, start, y.dtype.type(-np.inf), y)


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
        return output_shape(where, image, kernels, int2(stride), margins(where, padding), int2(dilation))

    return compiled


def checked(
    where: str, x: Any, weight: Any, layout: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    axes: str = "OC, C/groups, KH, KW",
) -> str:  # fmt: skip
    """Raise an error unless the types of a convolution's arguments are right; the layout."""
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "x", arguments.array(where, "x", x))
    arguments.rank(where, "weight", arguments.array(where, "weight", weight), 4, f"({axes})")
    arguments.whole_pair(where, "stride", stride)
    arguments.some_padding(where, padding)
    arguments.whole_pair(where, "dilation", dilation)
    arguments.whole(where, "groups", groups)
    return order


@compiled_as(functional.conv2d)
def _conv2d(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any, layout: Any, algorithm: Any,
    out: Any,
) -> Any:  # fmt: skip
    where = "conv2d"
    way = known(where, "algorithm", algorithm)
    if not isinstance(way, str) or way not in ("auto", "direct"):
        raise ValueError(f"{where}: algorithm must be auto or direct inside jitted code, got {way!r}")
    order = checked(where, x, weight, layout, stride, padding, dilation, groups)
    dtype = arguments.result_dtype(x, weight, arguments.optional_array(where, "bias", bias))
    given, last, shape = check_out(where, out, dtype, x.ndim), order == "NHWC", ordered(order)
    image_sizes, weight_sizes = sizes_of(x.ndim, order), sizes_of(4, order)
    read_x, read_weight = images_reader(x, dtype), images_reader(weight, dtype)
    biases, read_bias = bias_reader(where, bias, dtype)
    begin, deliver = target(dtype, x.ndim, given=given), delivery(x.ndim, given=given)

    def compiled(x, weight, bias, stride, padding, dilation, groups, layout, algorithm, out):
        image = image_sizes(x.shape)
        conv = sizes(
            where, image, weight_sizes(weight.shape), biases(bias), int2(stride), margins(where, padding),
            int2(dilation), np.int64(groups),
        )  # fmt: skip
        images, kernels = read_x(x), read_weight(weight)
        y = begin(where, shape(image[0], conv), out, x, weight, bias)
        convolve(where, conv, last, images, kernels, read_bias(bias), y)
        return deliver(y, out)

    return compiled


def bias_reader(where: str, bias: Any, dtype: np.dtype) -> tuple[Any, Any]:
    """The functions that give the length of a bias, -1 for none, and the bias itself, without elements for none."""
    if is_none(bias):
        element = dtype.type
        return register_jitable(lambda b: np.int64(-1)), register_jitable(lambda b: np.empty(0, element))
    arguments.rank(where, "bias", bias, 1, "(OC,)")
    return register_jitable(lambda b: np.int64(b.size)), reader(bias, dtype)
