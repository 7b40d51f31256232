"""The gradient of a convolution's input, as its plan says; with a bias it is a transposed convolution."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._engine.forward import Weights, convolve, direct_blocks, own_weights, row_starts, taps_first
from fastconv._engine.packed import convolve_packed
from fastconv._engine.planes import channels_first, planes_of, runs_of, to_channels_last
from fastconv._engine.winograd import convolve_winograd
from fastconv._geometry.conv import Conv, reduction_length, taps_of
from fastconv._geometry.input_gradient import backward_terms, gathered_axis, phase_terms
from fastconv._geometry.layout import IN_PLACE, channel_starts, tap_windows, term_offsets
from fastconv._geometry.segments import segments
from fastconv._plans.forward import NEVER, plan_forward
from fastconv._plans.records import CHANNELWISE, DEPTHWISE, GATHERED, PACKED, PHASED, WINOGRAD, InputGradientPlan
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import linked, planned
from fastconv.kernels import conv as conv_kernels
from fastconv.kernels import conv_input_gradient as kernels
from fastconv.kernels import depthwise, packing
from fastconv.kernels.planes import planes_input_gradient


@linked
def input_gradient(
    where: str, plan: InputGradientPlan, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, grad: np.ndarray
) -> None:
    """grad = the gradient of x, plus bias (C,); arrays have their channels last where the plan says so."""
    if len(g) == 0:
        return
    if plan.last:
        _last(where, plan, g, weight, bias, grad)
    else:
        _first(where, plan, g, weight, bias, grad)


@linked
def _last(
    where: str, plan: InputGradientPlan, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, grad: np.ndarray
) -> None:
    """As `input_gradient`, of arrays with their channels last."""
    conv, lowest = plan.conv, g.dtype.type(-np.inf)
    if not plan.moved:
        if plan.algorithm == DEPTHWISE:
            gathered, kernel = plan.product.conv, np.ascontiguousarray(taps_first(weight)[::-1])
            inside = segments(gathered.rows, gathered.columns, gathered.C)
            depthwise.depthwise(g, gathered.rows, gathered.columns, inside, kernel, bias, lowest, grad)
            return
        steps = 1, -(conv.C // conv.groups), reduction_length(conv)
        product = plan.product
        if product.algorithm == WINOGRAD:
            if packing.all_finite(weight.reshape(-1)) and convolve_winograd(
                where, product, g, weight.reshape(-1), steps, bias, lowest, grad
            ):
                return
            product = plan_forward(product.conv, product.N, g.itemsize, True, HOST, NEVER)
        if product.algorithm == PACKED and convolve_packed(
            where, product, g, weight.reshape(-1), steps, bias, lowest, True, grad
        ):
            return
    kernel = np.ascontiguousarray(weight.transpose((0, 3, 1, 2)))
    moved = empty(where, (plan.N, conv.C, conv.rows.size, conv.columns.size), g.dtype, "grad_x")
    _first(where, plan, channels_first(where, g), kernel, bias, moved)
    to_channels_last(moved, grad)


@linked
def _first(
    where: str, plan: InputGradientPlan, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, grad: np.ndarray
) -> None:
    """As `input_gradient`, of arrays in NCHW order."""
    # the convolution multiplies by zeros around and between the pixels, and zero times infinity would be NaN; that of
    # a single tap has none of them
    finite = plan.turned or packing.all_finite(weight.reshape(-1))
    done = False
    if finite:
        if plan.algorithm == GATHERED:
            done = _gathered(where, plan, g, weight, bias, grad)
        elif plan.algorithm == CHANNELWISE:
            conv, weights = plan.conv, own_weights(plan.conv, weight)
            start, table = (conv.rows.before, conv.columns.before), (weights.array, weights.rows, weights.terms)
            planes_input_gradient(g, start, table, bias, grad)
            done = True
        elif plan.algorithm == PHASED:
            done = _phased(where, plan, g, weight, bias, grad)
    if not done:
        _scattered(where, plan, g, weight, bias, finite, grad)


@linked
def _gathered(
    where: str, plan: InputGradientPlan, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, grad: np.ndarray
) -> bool:
    """The gradient of x as a convolution of g, to all phases of the stride; whether it can be relied on."""
    conv = plan.conv
    taps, lowest = taps_of(conv), g.dtype.type(-np.inf)
    if plan.turned:
        gathered, per_group, channels = plan.product.conv, conv.OC // conv.groups, conv.C // conv.groups
        turned = empty(where, (conv.groups, channels, per_group), weight.dtype, "the transposed weights")
        packing.transposed(weight.reshape((conv.groups, per_group, channels)), turned)
        convolve(where, plan.product, g, own_weights(gathered, turned), bias, lowest, grad)
        return True
    if conv.rows.stride * conv.columns.stride == 1:
        K = reduction_length(conv)
        starts, terms = (
            channel_starts(conv.C, conv.OC, conv.groups, taps),
            backward_terms(conv.OC // conv.groups, K, taps),
        )
        weights = Weights(weight.reshape(-1), starts, terms, (taps, -1, K))
        convolve(where, plan.product, g, weights, bias, lowest, grad)
        return True
    return _gathered_phases(where, plan, g, weight, bias, grad)


@linked
def _gathered_phases(
    where: str, plan: InputGradientPlan, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, grad: np.ndarray
) -> bool:
    """As `_gathered`, where there is more than one phase."""
    conv, gathered = plan.conv, plan.product.conv
    phases, lowest = conv.rows.stride * conv.columns.stride, g.dtype.type(-np.inf)
    rows, columns = gathered_axis(conv.rows), gathered_axis(conv.columns)
    per_group, channels = conv.OC // conv.groups, conv.C // conv.groups
    shape = (
        conv.groups, channels, conv.rows.stride, conv.columns.stride, per_group, rows.axis.kernel, columns.axis.kernel,
    )  # fmt: skip
    by_phase = empty(where, shape, g.dtype, "the weights by stride phase")
    grouped = weight.reshape((conv.groups, per_group, channels, conv.rows.kernel, conv.columns.kernel))
    packing.gather_weights(grouped, rows.phases, rows.positions, columns.phases, columns.positions, by_phase)
    planes = empty(where, (plan.N, gathered.OC, rows.axis.out, columns.axis.out), g.dtype, "the gradient's phases")
    own = own_weights(gathered, by_phase)
    convolve(where, plan.product, g, own, np.repeat(bias, phases), lowest, planes)
    cells = rows.axis.out * columns.axis.out
    return _merged(planes.reshape(-1), phases * cells, cells, conv, grad)


@linked
def _phased(
    where: str, plan: InputGradientPlan, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, grad: np.ndarray
) -> bool:
    """The gradient of x as a convolution of g to each phase of the stride; whether it can be relied on."""
    # along padded rows, of which no tap is left out, whatever the one convolution of all phases would read
    conv, gathered, layout = plan.conv, plan.product.conv, plan.product.fallback
    lowest, starts = g.dtype.type(-np.inf), channel_starts(conv.C, conv.OC, conv.groups, taps_of(conv))
    phases = conv.rows.stride * conv.columns.stride
    shape = (phases, plan.N, conv.C, gathered.rows.out, gathered.columns.out)
    parts = empty(where, shape, g.dtype, "the gradient's phases")
    planes, offsets = planes_of(where, gathered, layout, g), term_offsets(gathered, layout)
    for phase in range(phases):
        a, b = divmod(phase, conv.columns.stride)
        terms, places = phase_terms(conv, a, b)
        table = weight.reshape(-1), starts, terms
        reached = offsets[places]
        conv_kernels.forward(
            planes,
            layout.WP,
            layout.by_rows,
            table,
            bias,
            lowest,
            reached,
            conv.groups,
            direct_blocks(plan.blocks),
            parts[phase],
        )
    cells = gathered.rows.out * gathered.columns.out
    return _merged(parts.reshape(-1), cells, plan.N * conv.C * cells, conv, grad)


@linked
def _merged(planes: np.ndarray, plane: int, phase: int, conv: Conv, grad: np.ndarray) -> bool:
    """Take the gradient of x from what was computed of its phases, so far apart; whether it is finite."""
    rows, columns = gathered_axis(conv.rows), gathered_axis(conv.columns)
    images = grad.reshape((len(grad) * conv.C, conv.rows.size, conv.columns.size))
    place = (columns.axis.out, conv.rows.before, conv.columns.before, rows.first, columns.first)
    return packing.merge(planes, plane, phase, conv.rows.stride, conv.columns.stride, place, images) == 0


@linked
def _scattered(
    where: str,
    plan: InputGradientPlan,
    g: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    finite: bool,
    grad: np.ndarray,
) -> None:  # fmt: skip
    """The gradient of x tap by tap, from rows of pixels of g, added to padded planes."""
    conv, layout = plan.conv, plan.layout
    images = len(grad) * conv.C
    table = (
        weight.reshape(-1), channel_starts(conv.C, conv.OC, conv.groups, taps_of(conv)), _output_starts(conv)
    )  # fmt: skip
    runs, flat = runs_of(where, conv, layout, g, not finite)
    windows = tap_windows(conv, layout)
    if layout.kind == IN_PLACE:
        planes = grad.reshape((len(grad), conv.C, layout.cells))
        kernels.input_gradient(flat, table, bias, windows, conv.groups, runs, plan.blocks.workspace, planes)
        return
    shape = (len(grad), conv.C, layout.cells)
    planes = empty(where, shape, g.dtype, "the padded gradient")
    kernels.input_gradient(flat, table, bias, windows, conv.groups, runs, plan.blocks.workspace, planes)
    place = (layout.WP, conv.rows.before, conv.columns.before, 0, 0)
    packing.merge(
        planes.reshape(-1), layout.cells, layout.HP * layout.WP, conv.rows.stride, conv.columns.stride, place,
        grad.reshape((images, conv.rows.size, conv.columns.size)),
    )  # fmt: skip


@planned
def _output_starts(conv: Conv) -> np.ndarray:
    """Where the weights of a group's output channels begin, from its first one: (OC/groups,) uint64."""
    return row_starts(conv.OC // conv.groups, reduction_length(conv))
