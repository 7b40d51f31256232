"""The gradients of a convolution's weights and bias, as the plan says."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._engine.planes import channels_first, planes_of, runs_of, to_channels_last
from fastconv._engine.winograd import winograd_weight_gradient
from fastconv._geometry.borders import pixel_steps, some_tap_reaches_all, tap_rectangles
from fastconv._geometry.conv import Conv, pixels_of, reduction_length, taps_of
from fastconv._geometry.layout import Layout, column_shifts, group_step, pixel_cells, term_offsets
from fastconv._geometry.partition import outer_width
from fastconv._geometry.ranges import ceil_div
from fastconv._geometry.segments import segments
from fastconv._plans.forward import NEVER
from fastconv._plans.records import (
    BLOCKED,
    CHANNELWISE,
    DEPTHWISE,
    DOTS,
    DOTS_BY_GROUP,
    READ_IN_PLACE,
    SHARDED,
    WINOGRAD,
    WeightGradientPlan,
)
from fastconv._plans.weight_gradient import LEAST_SHARDS, plan_weight_gradient
from fastconv._runtime.host import HOST, Blocks
from fastconv._runtime.jit import jitable, linked
from fastconv._runtime.threads import threads_here
from fastconv.kernels import conv_gradients as kernels
from fastconv.kernels import conv_nhwc_weight_gradient, conv_shards, depthwise, packing
from fastconv.kernels.planes import planes_weight_gradient


@linked
def weight_gradient(where: str, plan: WeightGradientPlan, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> None:
    """grad = the gradient of the weights; arrays have their channels last where the plan says so."""
    if len(g) == 0:
        grad[:] = 0
        return
    if plan.algorithm == WINOGRAD:
        if winograd_weight_gradient(where, plan, g, x, grad):
            return
        plan = plan_weight_gradient(plan.conv, plan.N, g.itemsize, plan.last, HOST, NEVER)
    if plan.last:
        _last(where, plan, g, x, grad)
    else:
        _computed(where, plan, plan.algorithm, plan.layout, g, x, grad)


@linked
def _last(where: str, plan: WeightGradientPlan, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> None:
    """As `weight_gradient`, of arrays with their channels last."""
    if not plan.moved:
        if plan.algorithm == DEPTHWISE and _depthwise(where, plan, g, x, grad):
            return
        if plan.algorithm == READ_IN_PLACE and _read_in_place(where, plan, g, x, grad):
            return
        if not plan.fallback_moved:
            _computed(where, plan, plan.fallback, plan.fallback_layout, g, x, grad)
            return
    conv = plan.conv
    first = np.empty((conv.OC, conv.C // conv.groups, conv.rows.kernel, conv.columns.kernel), grad.dtype)
    g_first, x_first = channels_first(where, g), channels_first(where, x)
    _computed(where, plan, plan.fallback, plan.fallback_layout, g_first, x_first, first)
    to_channels_last(first, grad)


@linked
def _computed(
    where: str, plan: WeightGradientPlan, algorithm: int, layout: Layout, g: np.ndarray, x: np.ndarray, grad: np.ndarray
) -> None:
    """By dot products or outer products, of arrays in the layout's order."""
    if algorithm == DOTS_BY_GROUP:
        conv = plan.conv
        kernels.split_and_weight_gradient(
            g, x, conv.rows.before, (layout.vertical, layout.horizontal, layout.HP, layout.WP),
            column_shifts(conv.columns, layout), term_offsets(conv, layout), conv.groups, plan.blocks.taps,
            grad.reshape((conv.OC, reduction_length(conv))),
        )  # fmt: skip
    elif algorithm == CHANNELWISE:
        conv = plan.conv
        start = conv.rows.before, conv.columns.before
        planes_weight_gradient(g, x, conv.rows.stride, start, grad.reshape((conv.C, taps_of(conv))))
    elif algorithm == DOTS:
        _dots(where, plan, layout, g, x, grad)
    elif algorithm == SHARDED:
        _sharded(where, plan, layout, g, x, grad)
    elif algorithm == BLOCKED:
        _blocked(where, plan, layout, g, x, grad)


@linked
def _dots(where: str, plan: WeightGradientPlan, layout: Layout, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> None:
    """Dot products along the pixels, for few output channels."""
    conv, at_once = plan.conv, (plan.blocks.taps, plan.blocks.dot_cells)
    flat = grad.reshape((conv.OC, reduction_length(conv)))
    planes, offsets = planes_of(where, conv, layout, x), term_offsets(conv, layout)
    for by_rows in (False, True):
        runs, cells = runs_of(where, conv, layout, g, by_rows)
        kernels.weight_gradient(cells, planes, offsets, conv.groups, runs, at_once, flat)
        if cells.size == g.size or packing.all_finite(grad.reshape(-1)):
            break  # else an infinite pixel may have met the zeros between two rows of pixels: sum again row by row


@jitable
def shards_of(conv: Conv, N: int, blocks: Blocks) -> int:
    """In how many shards outer products are summed: their sums are as many weights each, to be added up again."""
    return min(blocks.shards, max(LEAST_SHARDS, N * pixels_of(conv) // blocks.shard_pixels))


@linked
def _sharded(
    where: str, plan: WeightGradientPlan, layout: Layout, g: np.ndarray, x: np.ndarray, grad: np.ndarray
) -> None:
    """Outer products summed in shards of the batch, for few weights."""
    conv, blocks = plan.conv, plan.blocks
    groups, per_group, K = conv.groups, conv.OC // conv.groups, reduction_length(conv)
    sums = np.empty((groups, K, per_group), g.dtype)
    shards = shards_of(conv, len(g), blocks)
    parts = empty(where, (shards, groups, K, per_group), g.dtype, "the shards of the weight gradient")
    shifts, sizes = column_shifts(conv.columns, layout), (conv.rows.size, conv.columns.size, conv.rows.before)
    if plan.apart:
        planes = x.reshape((len(x), conv.C * conv.rows.size * conv.columns.size))
    else:
        planes, shifts = planes_of(where, conv, layout, x), shifts[:0]
    conv_shards.weight_gradient_sharded(
        _pixels_of(conv, layout, g), layout.last, planes,
        (*sizes, layout.vertical, layout.horizontal, layout.HP, layout.WP), shifts, term_offsets(conv, layout),
        pixel_cells(conv, layout), group_step(conv, layout), outer_width(per_group, blocks.outer_channels), parts,
    )  # fmt: skip
    conv_shards.add_parts(parts.reshape((shards, sums.size)), sums.reshape(-1))
    packing.transposed(sums, grad.reshape((groups, per_group, K)))


@linked
def _blocked(
    where: str, plan: WeightGradientPlan, layout: Layout, g: np.ndarray, x: np.ndarray, grad: np.ndarray
) -> None:
    """Outer products summed in blocks of terms."""
    conv = plan.conv
    groups, per_group, K = conv.groups, conv.OC // conv.groups, reduction_length(conv)
    width = outer_width(per_group, plan.blocks.outer_channels)
    cells = ceil_div(per_group, width) * pixels_of(conv) * width
    transposed = empty(where, (len(g), groups, cells), g.dtype, "the transposed gradient")
    packing.transpose_gradient(_pixels_of(conv, layout, g), layout.last, groups, width, transposed.reshape(-1))
    kernels.weight_gradient_blocked(
        transposed, planes_of(where, conv, layout, x), group_step(conv, layout), term_offsets(conv, layout),
        pixel_cells(conv, layout), width, (plan.blocks.outer_terms, plan.blocks.outer_tasks),
        grad.reshape((groups, per_group, K)),
    )  # fmt: skip


@linked
def _pixels_of(conv: Conv, layout: Layout, g: np.ndarray) -> np.ndarray:
    """G as (N, OC, pixels), or (N, pixels, OC) with channels last."""
    shape = (len(g), conv.OC, pixels_of(conv))
    if layout.last:
        shape = (len(g), pixels_of(conv), conv.OC)
    return g.reshape(shape)


@linked
def _read_in_place(where: str, plan: WeightGradientPlan, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> bool:
    """With channels last, where images lie; False where g is not finite.

    The padding's zeros times infinity are NaN, as IEEE 754 has it, and this kernel leaves them out.
    """
    conv, shards = plan.conv, plan.shards
    at_once = plan.blocks.last_pixels_of_tap if shards > 1 else plan.blocks.last_pixels
    shape = (shards, conv.OC, taps_of(conv), conv.C // conv.groups)
    sums = grad.reshape(shape) if shards == 1 else empty(where, shape, g.dtype, "the shards of the weight gradient")
    finite = conv_nhwc_weight_gradient.weight_gradient_last(
        g, x, conv.rows, tap_rectangles(conv), pixel_steps(conv, conv.columns.size, 1), conv.groups, threads_here(),
        at_once, sums,
    )  # fmt: skip
    if finite and shards > 1:
        conv_shards.add_parts(sums.reshape((shards, grad.size)), grad.reshape(-1))
    return finite


@linked
def _depthwise(where: str, plan: WeightGradientPlan, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> bool:
    """Channel by channel, of channels last; False where it is not finite: zeros times infinity were left out."""
    conv, shards, taps = plan.conv, plan.blocks.shards, taps_of(plan.conv)
    if not some_tap_reaches_all(conv.rows, conv.columns) and not packing.all_finite(g.reshape(-1)):
        return False  # an infinite pixel that no tap reaches would not be seen in the sums
    parts = empty(where, (shards, taps, conv.C), g.dtype, "the shards of the weight gradient")
    depthwise.depthwise_weight_gradient(g, x, conv.rows, conv.columns, segments(conv.rows, conv.columns, conv.C), parts)
    sums = np.empty((taps, conv.C), g.dtype)
    conv_shards.add_parts(parts.reshape((shards, sums.size)), sums.reshape(-1))
    if not packing.all_finite(sums.reshape(-1)):
        return False
    grad.reshape((conv.C, taps))[:] = sums.T
    return True


@linked
def bias_gradient(g: np.ndarray, last: bool, grad: np.ndarray) -> None:
    """grad = the sum of each channel of g (N, OC, OH, OW), or of g (N, OH, OW, OC) where channels are `last`."""
    if last:
        _bias_gradient_last(g.reshape((g.size // g.shape[3], g.shape[3])), grad)
    else:
        kernels.bias_gradient(g.reshape((g.shape[0], g.shape[1], g.shape[2] * g.shape[3])), grad)


@linked
def _bias_gradient_last(g: np.ndarray, grad: np.ndarray) -> None:
    """grad = the sum of each column of g (pixels, OC), in double precision."""
    parts, sums = np.empty((HOST.blocks.shards, g.shape[1])), np.empty(g.shape[1])
    kernels.bias_gradient_last(g, parts)
    conv_shards.add_parts(parts, sums)
    grad[:] = sums
