"""The plan of the gradient of a convolution's weights."""

from __future__ import annotations

from fastconv._geometry.borders import some_tap_reaches_all
from fastconv._geometry.conv import Conv, reduction_length, taps_of
from fastconv._geometry.layout import Layout, as_it_is, by_pixel, chosen, copied, unpadded
from fastconv._plans.forward import ALWAYS, reject_channelwise, reject_depthwise, reject_winograd
from fastconv._plans.names import Reason
from fastconv._plans.records import (
    BLOCKED,
    CHANNELWISE,
    DEPTHWISE,
    DOTS,
    DOTS_BY_GROUP,
    READ_IN_PLACE,
    SHARDED,
    WINOGRAD,
    Rejected,
    WeightGradientPlan,
    accepted,
    rejected,
)
from fastconv._runtime.host import Host, Limits
from fastconv._runtime.jit import jitable, planned

CHANNELS, TERMS, ONE_TAP, CELLS = (
    int(r) for r in (Reason.CHANNELS, Reason.TERMS, Reason.ONE_TAP, Reason.CELLS)
)  # fmt: skip
NOT_REACHED, READ_AS_IS, GROUPS, TILE, PLANES, WEIGHTS = (
    int(r)
    for r in (Reason.NOT_REACHED, Reason.IN_PLACE, Reason.GROUPS, Reason.TILE, Reason.PLANES, Reason.WEIGHTS)
)  # fmt: skip


LEAST_SHARDS = 4  # of the batch, where there are few pixels


@planned
def plan_weight_gradient(
    conv: Conv, N: int, itemsize: int, last: bool, host: Host, winograd: int
) -> WeightGradientPlan:
    """How the gradient of the weights is computed from N images, with channels `last` or first.

    By Winograd's algorithm as `Winograd` says; where it is not, the fallback is what it would be without.
    """
    limits, none = host.limits, accepted()
    no_depthwise, no_reading, unsharded, together, shared = none, none, none, none, none
    no_outer = _reject_outer(conv, limits)
    if no_outer.reason == 0:
        unsharded = _reject_sharded(conv, limits)
        fallback, fallback_layout, fallback_moved = (
            BLOCKED if unsharded.reason else SHARDED,
            by_pixel(conv, last),
            False,
        )
    else:
        shared = _reject_channelwise(conv, limits)
        fallback, fallback_layout, fallback_moved = CHANNELWISE, as_it_is(conv), last
        if shared.reason:
            together = _reject_by_group(conv, itemsize, host)
            fallback = DOTS if together.reason else DOTS_BY_GROUP
            fallback_layout = chosen(conv, True)
    algorithm, layout, moved = fallback, fallback_layout, fallback_moved
    if last:
        no_depthwise = reject_depthwise(conv, limits)
        if no_depthwise.reason == 0:
            algorithm, layout, moved = DEPTHWISE, unpadded(conv, True), False
        elif no_outer.reason == 0:
            no_reading = _reject_in_place(conv, itemsize, host)
            if no_reading.reason == 0:
                algorithm, layout = READ_IN_PLACE, unpadded(conv, True)
    no_winograd = _reject_winograd(conv, N, winograd, limits)
    if no_winograd.reason == 0:
        algorithm, layout, moved = WINOGRAD, by_pixel(conv, True), False
    second = no_outer if no_outer.reason else no_reading
    return WeightGradientPlan(
        conv, N, last, moved, algorithm, layout, fallback, fallback_layout, fallback_moved,
        _splits_apart(conv, N, itemsize, fallback_layout, limits), _shards(conv, limits), host.blocks,
        (no_depthwise, no_winograd, second, unsharded, shared, together),
    )  # fmt: skip


@jitable
def _splits_apart(conv: Conv, N: int, itemsize: int, layout: Layout, limits: Limits) -> bool:
    """Whether shards split their own images: few are parts of several shards, and large ones stay in no cache."""
    size = conv.C // conv.groups * layout.cells * itemsize
    return copied(layout) and not layout.last and N >= limits.apart and size <= limits.planes


@jitable
def _shards(conv: Conv, limits: Limits) -> int:
    """In how many shards of the batch sums are taken where images lie: their taps are no work for many threads."""
    return LEAST_SHARDS if taps_of(conv) == 1 and _reject_sharded(conv, limits).reason == 0 else 1


@jitable
def _reject_winograd(conv: Conv, N: int, winograd: int, limits: Limits) -> Rejected:
    """Why the gradient is not computed by Winograd's algorithm."""
    rejection = reject_winograd(conv, N, winograd, limits)
    least = min(conv.C, conv.OC) // conv.groups
    if winograd != ALWAYS and rejection.reason == 0 and least < limits.winograd_weights:
        return rejected(WINOGRAD, CHANNELS, least, limits.winograd_weights)
    return rejection


@jitable
def _reject_outer(conv: Conv, limits: Limits) -> Rejected:
    """Why the gradient is dot products, and not outer products with the output gradient transposed."""
    outputs, K = conv.OC // conv.groups, reduction_length(conv)
    if outputs < limits.outer_channels:
        return rejected(SHARDED, CHANNELS, outputs, limits.outer_channels)
    if K < limits.outer_terms:
        return rejected(SHARDED, TERMS, K, limits.outer_terms)
    return accepted()


@jitable
def _reject_sharded(conv: Conv, limits: Limits) -> Rejected:
    """Why outer products are not summed in shards of the batch, but in blocks of terms."""
    size = conv.OC // conv.groups * reduction_length(conv)
    return rejected(SHARDED, WEIGHTS, size, limits.sharded) if size > limits.sharded else accepted()


@jitable
def _reject_channelwise(conv: Conv, limits: Limits) -> Rejected:
    """Why the gradient is not summed channel by channel, with images as they are."""
    if conv.C < limits.images:
        return rejected(CHANNELWISE, CHANNELS, conv.C, limits.images)
    return reject_channelwise(conv, limits)


@jitable
def _reject_by_group(conv: Conv, itemsize: int, host: Host) -> Rejected:
    """Why dot products are not summed group by group, each of which splits its own planes."""
    layout, limits = chosen(conv, True), host.limits
    if not copied(layout):
        return rejected(DOTS_BY_GROUP, READ_AS_IS, 0, 0)
    if conv.groups < limits.images:
        return rejected(DOTS_BY_GROUP, GROUPS, conv.groups, limits.images)
    if reduction_length(conv) > host.blocks.taps or conv.OC // conv.groups > host.dot_rows:
        return rejected(DOTS_BY_GROUP, TILE, host.dot_rows, host.blocks.taps)
    size = conv.C // conv.groups * layout.cells * itemsize
    return rejected(DOTS_BY_GROUP, PLANES, size, limits.planes) if size > limits.planes else accepted()


@jitable
def _reject_in_place(conv: Conv, itemsize: int, host: Host) -> Rejected:
    """Why the gradient is not summed where images with channels last lie."""
    rows, channels, limits = conv.rows, conv.C // conv.groups, host.limits
    if channels < limits.last_channels:
        return rejected(READ_IN_PLACE, CHANNELS, channels, limits.last_channels)
    if taps_of(conv) == 1 and _reject_sharded(conv, limits).reason == 0:
        # few weights in shards are faster, unless most is read of the output gradient, and once
        if channels > host.widest * host.vector_bytes // itemsize or 2 * channels > conv.OC // conv.groups:
            return rejected(READ_IN_PLACE, ONE_TAP, 1, 2)
    cells = min(rows.size, (rows.kernel - 1) * rows.dilation + 1) * conv.columns.size
    if cells > limits.last_cells:
        return rejected(READ_IN_PLACE, CELLS, cells, limits.last_cells)
    if not some_tap_reaches_all(conv.rows, conv.columns):
        return rejected(READ_IN_PLACE, NOT_REACHED, 0, 0)
    return accepted()
