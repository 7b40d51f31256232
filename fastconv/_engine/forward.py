"""Convolution, as its plan says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._engine.packed import convolve_packed
from fastconv._engine.planes import channels_first, planes_of, prepared_planes, to_channels_last
from fastconv._engine.winograd import convolve_winograd
from fastconv._geometry.conv import Conv, pixels_of, reduction_length, taps_of
from fastconv._geometry.layout import column_shifts, term_offsets
from fastconv._geometry.segments import segments
from fastconv._plans.forward import NEVER, plan_forward
from fastconv._plans.records import BY_IMAGE, CHANNELWISE, DEPTHWISE, DIRECT, PACKED, WINOGRAD, ForwardPlan
from fastconv._runtime.host import HOST, Blocks
from fastconv._runtime.jit import elements, jitable, linked, planned
from fastconv.kernels import conv as kernels
from fastconv.kernels import depthwise, packing
from fastconv.kernels.planes import convolve_planes


class Weights(NamedTuple):
    """Where the weights of a convolution lie: that of output channel oc and term k at rows[oc] + terms[k] of `array`.

    Attributes:
        array: the weights, flat.
        rows: (OC,) uint64.
        terms: (K,) uint64.
        steps: the distances of output channels, of the kernel's taps, negative where those lie from last to first, and
            of input channels.
    """

    array: np.ndarray
    rows: np.ndarray
    terms: np.ndarray
    steps: tuple[int, int, int]


@planned
def row_starts(rows: int, length: int) -> np.ndarray:
    """Where rows of that length begin that lie one behind the other: (rows,) uint64."""
    starts = np.empty(rows, np.uint64)
    for row in range(rows):
        starts[row] = row * length
    return starts


@planned
def weight_places(OC: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """`Weights.rows` and `terms` of weights (OC, C/groups, KH, KW)."""
    return row_starts(OC, K), row_starts(K, 1)


@jitable
def own_weights(conv: Conv, weight: np.ndarray) -> Weights:
    """The weights (OC, C/groups, KH, KW)."""
    K = reduction_length(conv)
    rows, terms = weight_places(conv.OC, K)
    return Weights(weight.reshape(-1), rows, terms, (K, 1, taps_of(conv)))


@linked
def forward(
    where: str, plan: ForwardPlan, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, y: np.ndarray
) -> None:
    """y = the convolution of x with weight, plus bias; all that is not above `lowest` is clamped to it.

    x, weight and y have their channels last where the plan says so.
    """
    if plan.last:
        _forward_last(where, plan, x, weight, bias, lowest, y)
    else:
        convolve(where, plan, x, own_weights(plan.conv, weight), bias, lowest, y)


@linked
def _forward_last(
    where: str, plan: ForwardPlan, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, y: np.ndarray
) -> None:
    """As `forward`, with channels last."""
    conv = plan.conv
    if plan.algorithm == WINOGRAD:
        steps = reduction_length(conv), conv.C // conv.groups, 1
        if convolve_winograd(where, plan, x, weight.reshape(-1), steps, bias, lowest, y):
            return
        plan = plan_forward(conv, plan.N, x.itemsize, True, HOST, NEVER)
    if plan.moved:
        images, kernel = channels_first(where, x), np.ascontiguousarray(weight.transpose((0, 3, 1, 2)))
        shape = (plan.N, conv.OC, conv.rows.out, conv.columns.out)
        moved = empty(where, shape, y.dtype, "the result in NCHW order")
        convolve(where, plan, images, own_weights(conv, kernel), bias, lowest, moved)
        to_channels_last(moved, y)
        return
    if plan.algorithm == DEPTHWISE and _depthwise(conv, x, weight, bias, lowest, y):
        return
    steps = reduction_length(conv), conv.C // conv.groups, 1
    convolve_packed(where, plan, x, weight.reshape(-1), steps, bias, lowest, False, y)


@jitable
def direct_blocks(blocks: Blocks) -> tuple[int, int, int, int]:
    """Those of direct convolution: a kernel is called the faster the fewer numbers it is given."""
    return blocks.channels, blocks.pixels, blocks.together, blocks.workspace


@linked
def convolve(
    where: str, plan: ForwardPlan, x: np.ndarray, weights: Weights, bias: np.ndarray, lowest: Any, y: np.ndarray
) -> None:
    """As `forward`, of images in NCHW order, with weights that lie anywhere."""
    if plan.algorithm == WINOGRAD:
        if convolve_winograd(where, plan, x, weights.array, weights.steps, bias, lowest, y):
            return
        plan = plan_forward(plan.conv, plan.N, x.itemsize, False, HOST, NEVER)
    conv, layout, blocks = plan.conv, plan.layout, plan.blocks
    table = weights.array, weights.rows, weights.terms
    if plan.algorithm == PACKED:
        convolve_packed(where, plan, x, weights.array, weights.steps, bias, lowest, False, y)
    elif plan.algorithm == CHANNELWISE:
        convolve_planes(x, conv.rows.stride, (conv.rows.before, conv.columns.before), table, bias, lowest, y)
    elif plan.algorithm == BY_IMAGE:
        parts = layout.vertical, layout.horizontal, layout.HP, layout.WP, layout.by_rows
        kernels.split_and_forward(
            x, conv.rows.before, parts, column_shifts(conv.columns, layout), table, bias, lowest,
            term_offsets(conv, layout), conv.groups,
            (blocks.channels, blocks.workspace, blocks.shares), y,
        )  # fmt: skip
    else:
        kernels.forward(
            planes_of(where, conv, layout, x), layout.WP, layout.by_rows, table, bias, lowest,
            term_offsets(conv, layout), conv.groups, direct_blocks(blocks), y,
        )  # fmt: skip


def prepared(plan: ForwardPlan) -> Callable[..., None]:
    """`forward` of (where, x, weight, bias, lowest, y), with what follows from the plan alone looked up before.

    For Python, where a small convolution takes no longer than to look that up.
    """
    if plan.last or plan.algorithm not in (DIRECT, CHANNELWISE):
        return lambda where, *arrays: forward(where, plan, *arrays)
    conv, K = plan.conv, reduction_length(plan.conv)
    (rows, terms), work = weight_places(conv.OC, K), elements(plan.N * conv.OC * pixels_of(conv), K)
    if plan.algorithm == CHANNELWISE:
        stride, start, channelwise = (
            conv.rows.stride,
            (conv.rows.before, conv.columns.before),
            convolve_planes.prepared(work),
        )
        return lambda where, x, weight, bias, lowest, y: channelwise(
            x, stride, start, (weight.reshape(-1), rows, terms), bias, lowest, y
        )
    layout, blocks, groups = plan.layout, direct_blocks(plan.blocks), conv.groups
    planes, offsets = prepared_planes(plan.N, conv, layout), term_offsets(conv, layout)
    WP, by_rows, direct = layout.WP, layout.by_rows, kernels.forward.prepared(work)
    return lambda where, x, weight, bias, lowest, y: direct(
        planes(where, x), WP, by_rows, (weight.reshape(-1), rows, terms), bias, lowest, offsets, groups, blocks, y
    )


@jitable
def taps_first(weight: np.ndarray) -> np.ndarray:
    """Weights (C, KH, KW, 1) as (KH*KW, C)."""
    return np.ascontiguousarray(weight.reshape((len(weight), weight.size // len(weight))).T)


@linked
def _depthwise(conv: Conv, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, y: np.ndarray) -> bool:
    """The convolution channel by channel; False, and nothing, where a weight is not finite.

    The padding's zeros times infinity are NaN, as IEEE 754 has it, and this kernel leaves them out.
    """
    if not packing.all_finite(weight.reshape(-1)):
        return False
    depthwise.depthwise(
        x, conv.rows, conv.columns, segments(conv.rows, conv.columns, conv.C), taps_first(weight), bias, lowest, y
    )
    return True
