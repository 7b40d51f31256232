"""conv2d_backward in jitted code.

The variants are those that Python takes, but for the gradient of weight where there are many output channels: that is
dot products here, while Python transposes the gradient, which is faster; the results are the same but for rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import check_memory, same_shape
from fastconv._geometry.input_gradient import backward_terms, border_products, gathered_axis
from fastconv._geometry.layout import channel_starts, chosen, column_shifts, laid_out, tap_windows
from fastconv._overloads import arguments
from fastconv._overloads.arguments import int2, known, margins
from fastconv._overloads.arrays import delivery, images_reader, new_images, shape_of, sizes_of
from fastconv._overloads.conv import checked, sizes, split, summed, tap_offsets
from fastconv._overloads.register import compiled_as
from fastconv._plan import MOST_PRODUCTS
from fastconv._runtime.jit import strict_helper
from fastconv._runtime.linking import linked
from fastconv.kernels import conv_gradients as kernels
from fastconv.kernels import packing as moves
from fastconv.kernels.indirection import row_offsets

all_finite, widen = linked(moves.all_finite.serial), linked(moves.widen.serial)
turn, merge = linked(moves.turn.serial), linked(moves.merge.serial)
input_gradient = linked(kernels.input_gradient.serial)
dotted, bias_gradient = linked(kernels.weight_gradient.serial), linked(kernels.bias_gradient.serial)


@strict_helper
def _gathered(where, g, weight, bias, rows, columns, groups, grad):
    """The gradient of x as a convolution of g, for each phase of the stride; whether it can be relied on."""
    N, C, H, W = grad.shape
    OC, KH, KW = g.shape[1], rows.kernel, columns.kernel
    per_group, taps, T = OC // groups, weight.size // OC, KH * KW
    down, across = gathered_axis(rows), gathered_axis(columns)
    sy, sx = rows.stride, columns.stride
    if sy * sx == 1:
        starts, terms = channel_starts(C, OC, groups, T), backward_terms(per_group, taps, T)
        summed(where, g, weight.reshape(-1), starts, terms, bias, down.axis, across.axis, groups, grad)
        return True
    TH, TW, OH, OW = down.axis.kernel, across.axis.kernel, down.axis.out, across.axis.out
    turned = np.empty((groups, C // groups, sy, sx, per_group, TH, TW), g.dtype)
    grouped = weight.reshape((groups, per_group, C // groups, KH, KW))
    turn((grouped, down.phases, down.positions, across.phases, across.positions, turned))
    check_memory(where, "the gradient's phases", (N, C * sy * sx, OH, OW), g.itemsize)
    planes = np.empty((N, C * sy * sx, OH, OW), g.dtype)
    table = row_offsets(C * sy * sx, per_group * TH * TW), row_offsets(per_group * TH * TW, np.int64(1))
    starts = np.repeat(bias, sy * sx)
    summed(where, g, turned.reshape(-1), table[0], table[1], starts, down.axis, across.axis, groups, planes)
    phase, images = OH * OW, grad.reshape((N * C, H, W))
    place = rows.before, columns.before, down.first, across.first
    return merge((planes.reshape(-1), sy * sx * phase, phase, sy, sx, OW, *place, images)) == 0


@strict_helper
def _runs(g, planes, wide):
    """The runs of pixels (runs, cells of one, distance in g, distance in planes), and g (N, OC, cells)."""
    N, OC, OH, OW = g.shape
    flat = g.reshape((N, OC, OH * OW))
    if planes.WP == OW:
        return (1, OH * OW, 0, 0), flat
    if planes.by_rows or not wide:
        return (OH, OW, OW, planes.WP), flat
    rows = np.empty((N, OC, planes.wide), g.dtype)
    widen((g.reshape((N * OC, OH, OW)), planes.WP, rows.reshape((N * OC, planes.wide))))
    return (1, planes.wide, 0, 0), rows


@strict_helper
def _scattered(where, g, weight, bias, finite, rows, columns, groups, grad):
    """The gradient of x tap by tap, from rows of pixels of g, added to padded planes."""
    N, C, H, W = grad.shape
    OC = g.shape[1]
    planes, taps = laid_out(C, OC, groups, rows, columns, False), weight.size // OC
    (runs, run, g_run, planes_run), flat = _runs(g, planes, finite)
    shape = (N * C, rows.stride, columns.stride, planes.HP, planes.WP)
    if not planes.in_place:
        check_memory(where, "the padded gradient", shape, g.itemsize)
    padded = np.empty((0, 1, 1, 1, 1) if planes.in_place else shape, g.dtype)
    input_gradient(
        (flat, weight.reshape(-1), channel_starts(C, OC, groups, rows.kernel * columns.kernel),
         row_offsets(OC // groups, taps), bias, tap_windows(rows, columns, planes), groups, runs, run, g_run,
         planes_run,
         (grad.reshape(-1) if planes.in_place else padded.reshape(-1)).reshape((N, C, planes.cells)))
    )  # fmt: skip
    if not planes.in_place:
        zero, phase, images = np.int64(0), planes.HP * planes.WP, grad.reshape((N * C, H, W))
        place = rows.before, columns.before, zero, zero
        merge((padded.reshape(-1), planes.cells, phase, rows.stride, columns.stride, planes.WP, *place, images))


@linked
@strict_helper
def spread(where, g, weight, bias, rows, columns, groups, grad):
    """The gradient of x (N, C, H, W), written to grad; plus bias (C,), if that has elements: then a transposed sum."""
    finite = all_finite((weight.reshape(-1),))
    start = bias if bias.size > 0 else np.zeros(grad.shape[1], g.dtype)
    # Python does phase by phase what would take many products as one convolution: without the zeros, the same sums
    if finite and border_products(rows, columns) <= MOST_PRODUCTS:
        if _gathered(where, g, weight, start, rows, columns, groups, grad):
            return
    _scattered(where, g, weight, start, finite, rows, columns, groups, grad)


@linked
@strict_helper
def grad_weight(where, g, x, weight, rows, columns, groups):
    """The gradient of weight (OC, C/groups, KH, KW), dot products along the pixels; arrays as kernels take them."""
    N, C, H, W = x.shape
    OC = g.shape[1]
    planes = chosen(C, OC, groups, rows, columns)
    offsets = tap_offsets(C // groups, rows, columns, planes)
    grad = np.empty(weight.shape, x.dtype)
    shape = (N * C, rows.stride, planes.copies, planes.HP, planes.WP)
    if not planes.in_place:
        check_memory(where, "the padded input", shape, x.itemsize)
    padded = np.empty((0, 1, 1, 1, 1) if planes.in_place else shape, x.dtype)
    if not planes.in_place:
        shifts = column_shifts(columns, planes)
        split((x.reshape((N * C, H, W)), rows.before, rows.stride, shifts, columns.stride, padded))
    cells = (x.reshape(-1) if planes.in_place else padded.reshape(-1)).reshape((N, C * planes.cells))
    for wide in (True, False):
        (runs, run, g_run, planes_run), flat = _runs(g, planes, wide)
        dotted((flat, cells, offsets, groups, runs, run, g_run, planes_run, grad.reshape((OC, offsets.size))))
        if flat.size == g.size or all_finite((grad.reshape(-1),)):
            break  # else an infinite pixel may have met the zeros between two rows of pixels: sum again row by row
    return grad


@linked
@strict_helper
def grad_bias(g):
    """The gradient of the bias (OC,)."""
    N, OC, OH, OW = g.shape
    grad = np.empty(OC, g.dtype)
    bias_gradient((g.reshape((N, OC, OH * OW)), grad))
    return grad


def wanted(where: str, needs: Any) -> tuple[bool, bool, bool]:
    """`needs`, whose values decide the result's type."""
    value = known(where, "needs", needs)
    if not isinstance(value, tuple) or len(value) != 3:
        raise ValueError(f"{where}: needs must be three booleans (x, weight, bias), got {value!r}")
    return bool(value[0]), bool(value[1]), bool(value[2])


def if_wanted(want: bool, function: Any) -> Any:
    """The function for compiled code, or one that gives None."""
    return register_jitable(function if want else lambda *args: None)


def gradients_of(wants: tuple[bool, bool, bool], dtype: np.dtype, deliver_x: Any, deliver_weight: Any) -> Any:
    """The function that gives the gradients of a convolution that are wanted, of arrays as kernels take them."""
    zero, element = dtype.type(0), dtype.type

    def gradient_of_x(where, g, x, weight, rows, columns, groups):
        grad = new_images((where, x.shape, zero))
        spread((where, g, weight, np.empty(0, element), rows, columns, groups, grad))
        return deliver_x(grad, None)

    of_x = if_wanted(wants[0], gradient_of_x)
    of_weight = if_wanted(wants[1], lambda *args: deliver_weight(grad_weight(args), None))
    of_bias = if_wanted(wants[2], lambda g: grad_bias((g,)))

    def gradients(where, g, x, weight, rows, columns, groups):
        return (
            of_x(where, g, x, weight, rows, columns, groups),
            of_weight(where, g, x, weight, rows, columns, groups),
            of_bias(g),
        )

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
    image_sizes, weight_sizes, final = sizes_of(x.ndim, order), sizes_of(4, order), shape_of(x.ndim, order)
    read_x, read_weight, read_g = (images_reader(kind, dtype, order) for kind in (x, weight, grad_output))
    deliver_x, deliver_weight = delivery(x.ndim, order), delivery(4, order)
    gradients = gradients_of(wants, dtype, deliver_x, deliver_weight)

    def compiled(grad_output, x, weight, stride, padding, dilation, groups, layout, needs):
        shape, rows, columns = sizes(
            (where, image_sizes(x.shape), weight_sizes(weight.shape), np.int64(-1), int2(stride),
             margins(where, padding), int2(dilation), np.int64(groups))
        )  # fmt: skip
        same_shape(where, "grad_output", grad_output, final(shape))
        g, images, kernels = read_g(grad_output), read_x(x), read_weight(weight)
        return gradients(where, g, images, kernels, rows, columns, np.int64(groups))

    return compiled
