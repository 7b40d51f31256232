"""The plan of the gradient of a convolution's input."""

from __future__ import annotations

from fastconv._geometry.conv import Conv, taps_of
from fastconv._geometry.input_gradient import border_products, gathered_conv, gathered_products
from fastconv._geometry.layout import wide_rows
from fastconv._plans.forward import plan_forward, reject_channelwise, reject_depthwise, reject_in_order
from fastconv._plans.names import Reason
from fastconv._plans.records import (
    CHANNELWISE,
    DEPTHWISE,
    GATHERED,
    PHASED,
    SCATTERED,
    InputGradientPlan,
    Rejected,
    accepted,
    rejected,
)
from fastconv._runtime.host import Host
from fastconv._runtime.jit import jitable, planned

PRODUCTS, ONE_PHASE, STRIDED = int(Reason.PRODUCTS), int(Reason.ONE_PHASE), int(Reason.STRIDED)


@planned
def plan_input_gradient(conv: Conv, N: int, itemsize: int, last: bool, host: Host, winograd: int) -> InputGradientPlan:
    """How the gradient of N images is computed, of elements of `itemsize` bytes, with channels `last` or first.

    A convolution for it by Winograd's algorithm as `Winograd` says.
    """
    limits, none, gathered = host.limits, accepted(), gathered_conv(conv)
    phases = conv.rows.stride * conv.columns.stride
    no_depthwise, no_order, no_phases, shared = none, none, none, none
    no_gather = _reject_products(GATHERED, gathered_products(conv), limits.products)
    algorithm, moved = GATHERED, last
    if last:
        no_depthwise = reject_depthwise(conv, limits)
        if phases > 1:
            no_order = rejected(GATHERED, STRIDED, phases, 1)
        elif no_depthwise.reason == 0:
            algorithm, no_gather = DEPTHWISE, none
        elif no_gather.reason == 0:
            no_order = reject_in_order(gathered, limits)
        else:
            no_order = no_gather
        moved = no_order.reason != 0
    if moved or not last:
        if no_gather.reason != 0:
            no_phases = rejected(PHASED, ONE_PHASE, 1, 2)
            if phases > 1:
                no_phases = _reject_products(PHASED, border_products(conv), limits.products)
            algorithm = SCATTERED if no_phases.reason else PHASED
        if phases > 1:
            shared = reject_channelwise(conv, limits)
            if shared.reason == 0:
                algorithm, no_gather, no_phases = CHANNELWISE, none, none
    product = plan_forward(gathered, N, itemsize, last and not moved, host, winograd)
    turned = algorithm == GATHERED and not product.last and phases == taps_of(conv) == 1 and conv.C > conv.groups
    return InputGradientPlan(
        conv, N, last, moved, algorithm, product, turned, wide_rows(conv, False, False)[0], host.blocks,
        (no_depthwise, no_order, shared, no_gather, no_phases),
    )  # fmt: skip


@jitable
def _reject_products(algorithm: int, products: float, most: float) -> Rejected:
    """Why the gradient is not computed as a convolution that takes more products than are needed."""
    return rejected(algorithm, PRODUCTS, products, most) if products > most else accepted()
