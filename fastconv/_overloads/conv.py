"""conv2d and conv_output_shape in jitted code.

`split` and `forward` run on as many images at once as fit the L2 cache, on the planes that Python would choose: the
same products in the same order, whichever variant Python takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import check_memory
from fastconv._arguments.sizes import check_range, layout_argument
from fastconv._geometry.axes import conv_axes
from fastconv._geometry.layout import chosen, column_shifts, tap_windows
from fastconv._overloads import arguments
from fastconv._overloads.arguments import check_steps, int2, is_none, known, margins
from fastconv._overloads.arrays import check_out, delivery, images_reader, reader, sizes_of, target
from fastconv._overloads.register import compiled_as
from fastconv._plan import CACHED_PLANES
from fastconv._runtime.jit import strict_helper
from fastconv._runtime.linking import linked
from fastconv.errors import ShapeError
from fastconv.kernels import conv as kernels
from fastconv.kernels import packing as moves
from fastconv.kernels.micro.drivers import row_offsets

split, forward = linked(moves.split.serial), linked(kernels.forward.serial)


@linked
@strict_helper
def sizes(where, image, weight, biases, stride, margins, dilation, groups):
    """The shape of a convolution's result and its axes, all checked; `biases` is -1 where there is no bias."""
    N, C, H, W = image
    if biases >= 0 and biases != weight[0]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, (weight[0],), (biases,))
    check_steps(where, stride, margins, dilation)
    check_range(where, "groups", groups, 1)
    rows, columns = conv_axes(where, (C, H, W), weight, stride, margins, dilation, groups)
    return (N, weight[0], rows.out, columns.out), rows, columns


@linked
@strict_helper
def output_shape(where, image, weight, stride, margins, dilation):
    """`sizes` of shapes that are arguments themselves; the groups follow from the channels."""
    for i in range(4):
        check_range(where, "input_shape", image[i], 0)
    for i in range(4):
        check_range(where, "weight_shape", weight[i], 0)
    groups = max(image[1] // max(weight[1], 1), 1)
    return sizes((where, image, weight, np.int64(-1), stride, margins, dilation, groups))[0]


@strict_helper
def tap_offsets(channels, rows, columns, planes):
    """The offset of tap (c, ky, kx) from the first of its group's `channels`: (taps,) uint64."""
    windows = tap_windows(rows, columns, planes)
    T = windows.size
    offsets = np.empty(channels * T, np.uint64)
    for c in range(channels):
        for t in range(T):
            offsets[c * T + t] = c * planes.cells + np.int64(windows[t])
    return offsets


@strict_helper
def summed(where, x, weight, weight_rows, weight_terms, bias, rows, columns, groups, y):
    """y = the convolution of x, plus bias; the weight of channel oc and tap k is weight[weight_rows[oc] + terms[k]]."""
    N, C, H, W = x.shape
    planes = chosen(C, y.shape[1], groups, rows, columns)
    offsets, shifts = tap_offsets(C // groups, rows, columns, planes), column_shifts(columns, planes)
    floor, image = y.dtype.type(-np.inf), C * planes.cells
    if planes.in_place:
        forward(
            (x.reshape(-1), weight, weight_rows, weight_terms, bias, floor, offsets, groups, image, planes.WP,
             planes.by_rows, y)
        )  # fmt: skip
        return
    shape = (C, rows.stride, planes.copies, planes.HP, planes.WP)
    check_memory(where, "the padded input", shape, x.itemsize)
    step = max(1, min(N, CACHED_PLANES // (image * x.itemsize)))
    scratch = np.empty((step * C, rows.stride, planes.copies, planes.HP, planes.WP), x.dtype)
    for n in range(0, N, step):
        m = min(step, N - n)
        part = scratch[: m * C]
        split((x[n : n + m].reshape((m * C, H, W)), rows.before, rows.stride, shifts, columns.stride, part))
        forward(
            (part.reshape(-1), weight, weight_rows, weight_terms, bias, floor, offsets, groups, image, planes.WP,
             planes.by_rows, y[n : n + m])
        )  # fmt: skip


@linked
@strict_helper
def convolve(where, x, weight, bias, rows, columns, groups, y):
    """y = the convolution of x with weight, plus bias, if that has elements; arrays as kernels take them, in NCHW."""
    if y.size == 0:
        return
    OC = weight.shape[0]
    taps = weight.size // OC
    start = bias if bias.size > 0 else np.zeros(OC, y.dtype)
    table = row_offsets(OC, taps), row_offsets(taps, np.int64(1))
    summed(where, x, weight.reshape(-1), table[0], table[1], start, rows, columns, groups, y)


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
        return output_shape((where, image, kernels, int2(stride), margins(where, padding), int2(dilation)))

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
    given = check_out(where, out, dtype, x.ndim)
    image_sizes, weight_sizes = sizes_of(x.ndim, order), sizes_of(4, order)
    read_x, read_weight = images_reader(x, dtype, order), images_reader(weight, dtype, order)
    biases, read_bias = bias_reader(where, bias, dtype)
    begin, deliver = target(dtype, x.ndim, order, given), delivery(x.ndim, order, given)

    def compiled(x, weight, bias, stride, padding, dilation, groups, layout, algorithm, out):
        shape, rows, columns = sizes(
            (where, image_sizes(x.shape), weight_sizes(weight.shape), biases(bias), int2(stride),
             margins(where, padding), int2(dilation), np.int64(groups))
        )  # fmt: skip
        images, kernels = read_x(x), read_weight(weight)
        y = begin(where, shape, out, x, weight, bias)
        convolve((where, images, kernels, read_bias(bias), rows, columns, np.int64(groups), y))
        return deliver(y, out)

    return compiled


def bias_reader(where: str, bias: Any, dtype: np.dtype) -> tuple[Any, Any]:
    """The functions that give the length of a bias, -1 for none, and the bias itself, without elements for none."""
    if is_none(bias):
        element = dtype.type
        return register_jitable(lambda b: np.int64(-1)), register_jitable(lambda b: np.empty(0, element))
    arguments.rank(where, "bias", bias, 1, "(OC,)")
    return register_jitable(lambda b: np.int64(b.size)), reader(bias, dtype)
