"""conv2d_backward in jitted code.

One variant of each gradient that is right for every geometry, from rows of pixels: that of x scattered tap by tap, that
of weight as dot products. Python takes others where they are faster; the results are the same but for rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arrays import check_memory, same_shape
from fastconv._jit import strict_helper
from fastconv._overloads import arguments
from fastconv._overloads.arguments import int2, known, margins
from fastconv._overloads.arrays import delivery, images_reader, shape_of, sizes_of
from fastconv._overloads.conv import checked, sizes, split, tap_offsets
from fastconv._overloads.linking import linked
from fastconv._overloads.register import compiled_as
from fastconv._planes import channel_starts, column_shifts, laid_out, tap_windows
from fastconv.errors import ShapeError
from fastconv.kernels import conv_gradients as kernels
from fastconv.kernels import planes as moves
from fastconv.kernels.simd import row_offsets

input_gradient, merge = linked(kernels.input_gradient.serial), linked(moves.merge.serial)
dotted, bias_gradient = linked(kernels.weight_gradient.serial), linked(kernels.bias_gradient.serial)


@strict_helper
def _runs(OH, OW, WP):
    """The runs of pixels in g and in planes: (runs, cells of one, distance in g, distance in planes)."""
    return (1, OH * OW, 0, 0) if WP == OW else (OH, OW, OW, WP)


@linked
@strict_helper
def grad_x(where, g, x, weight, rows, columns, groups):
    """The gradient of x (N, C, H, W); arrays as kernels take them."""
    N, C, H, W = x.shape
    OC, OH, OW = g.shape[1:]
    planes, taps = laid_out(C, OC, groups, rows, columns, False), weight.size // OC
    runs, run, g_run, planes_run = _runs(OH, OW, planes.WP)
    grad = np.empty(x.shape, x.dtype)
    shape = (N * C, rows.stride, columns.stride, planes.HP, planes.WP)
    if not planes.in_place:
        check_memory(where, "the padded gradient", shape, x.itemsize)
    padded = np.empty((0, 1, 1, 1, 1) if planes.in_place else shape, x.dtype)
    input_gradient(
        (g.reshape((N, OC, OH * OW)), weight.reshape(-1), channel_starts(C, OC, groups, rows.kernel * columns.kernel),
         row_offsets(OC // groups, taps), tap_windows(rows, columns, planes), groups, runs, run, g_run, planes_run,
         (grad.reshape(-1) if planes.in_place else padded.reshape(-1)).reshape((N, C, planes.cells)))
    )  # fmt: skip
    if not planes.in_place:
        zero = np.int64(0)
        merge((padded, rows.before, columns.before, zero, zero, grad.reshape((N * C, H, W))))
    return grad


@linked
@strict_helper
def grad_weight(where, g, x, weight, rows, columns, groups):
    """The gradient of weight (OC, C/groups, KH, KW); arrays as kernels take them."""
    N, C, H, W = x.shape
    OC, OH, OW = g.shape[1:]
    planes = laid_out(C, OC, groups, rows, columns, False)
    runs, run, g_run, planes_run = _runs(OH, OW, planes.WP)
    offsets = tap_offsets(C // groups, rows, columns, planes)
    grad = np.empty(weight.shape, x.dtype)
    shape = (N * C, rows.stride, columns.stride, planes.HP, planes.WP)
    if not planes.in_place:
        check_memory(where, "the padded input", shape, x.itemsize)
    padded = np.empty((0, 1, 1, 1, 1) if planes.in_place else shape, x.dtype)
    if not planes.in_place:
        shifts = column_shifts(columns, planes)
        split((x.reshape((N * C, H, W)), rows.before, rows.stride, shifts, columns.stride, padded))
    dotted(
        (g.reshape((N, OC, OH * OW)),
         (x.reshape(-1) if planes.in_place else padded.reshape(-1)).reshape((N, C * planes.cells)), offsets, groups,
         runs, run, g_run, planes_run, grad.reshape((OC, offsets.size)))
    )  # fmt: skip
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


@compiled_as(functional.conv2d_backward)
def _conv2d_backward(
    grad_output: Any, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any, layout: Any,
    needs: Any,
) -> Any:  # fmt: skip
    where = "conv2d_backward"
    wants = wanted(where, needs)
    order = checked(where, x, weight, layout, stride, padding, dilation, groups)
    if arguments.array(where, "grad_output", grad_output).ndim != x.ndim:
        raise ShapeError(f"{where}: grad_output must have {x.ndim} dimensions, got {grad_output.ndim}")
    dtype = arguments.result_dtype(x, weight, grad_output)
    image_sizes, weight_sizes, final = sizes_of(x.ndim, order), sizes_of(4, order), shape_of(x.ndim, order)
    read_x, read_weight, read_g = (images_reader(kind, dtype, order) for kind in (x, weight, grad_output))
    deliver_x, deliver_weight = delivery(x.ndim, order), delivery(4, order)
    of_x = if_wanted(wants[0], lambda *args: deliver_x(grad_x(args), None))
    of_weight = if_wanted(wants[1], lambda *args: deliver_weight(grad_weight(args), None))
    of_bias = if_wanted(wants[2], lambda g: grad_bias((g,)))

    def compiled(grad_output, x, weight, stride, padding, dilation, groups, layout, needs):
        shape, rows, columns = sizes(
            (where, image_sizes(x.shape), weight_sizes(weight.shape), np.int64(-1), int2(stride),
             margins(where, padding), int2(dilation), np.int64(groups))
        )  # fmt: skip
        same_shape(where, "grad_output", grad_output, final(shape))
        g, images, kernels = read_g(grad_output), read_x(x), read_weight(weight)
        return (
            of_x(where, g, images, kernels, rows, columns, np.int64(groups)),
            of_weight(where, g, images, kernels, rows, columns, np.int64(groups)),
            of_bias(g),
        )

    return compiled
