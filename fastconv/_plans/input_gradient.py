"""The plan of the gradient of a convolution's input."""

from __future__ import annotations

from fastconv._geometry.conv import Conv
from fastconv._geometry.input_gradient import border_products, gathered_conv, gathered_products
from fastconv._geometry.layout import wide_rows
from fastconv._plans.forward import plan_forward, reject_depthwise, reject_in_order
from fastconv._plans.records import (
    DEPTHWISE,
    GATHERED,
    PHASED,
    SCATTERED,
    InputGradientPlan,
    Reason,
    Rejected,
    accepted,
    rejected,
)
from fastconv._runtime.host import Host
from fastconv._runtime.jit import jitable, planned

PRODUCTS, ONE_PHASE, STRIDED = int(Reason.PRODUCTS), int(Reason.ONE_PHASE), int(Reason.STRIDED)


@planned
def plan_input_gradient(conv: Conv, N: int, itemsize: int, last: bool, host: Host) -> InputGradientPlan:
    """How the gradient of N images is computed, of elements of so many bytes, with channels `last` or first."""
    limits, none, gathered = host.limits, accepted(), gathered_conv(conv)
    phases, scattered = conv.rows.stride * conv.columns.stride, wide_rows(conv, False)[0]
    no_gather = _reject_products(GATHERED, gathered_products(conv), limits.products)
    no_depthwise, in_order = none, none
    if last:
        no_depthwise = reject_depthwise(conv, limits)
        in_order = rejected(GATHERED, STRIDED, phases, 1) if phases > 1 else no_gather
        if in_order.reason == 0 and reject_depthwise(gathered, limits).reason != 0:
            in_order = reject_in_order(gathered, limits)
        if no_depthwise.reason == 0 and phases == 1:
            product = plan_forward(gathered, N, itemsize, True, host)
            return InputGradientPlan(
                conv, N, last, False, DEPTHWISE, product, scattered, host.blocks, (none, none, none, none)
            )
        if in_order.reason == 0:
            product = plan_forward(gathered, N, itemsize, True, host)
            return InputGradientPlan(
                conv, N, last, False, GATHERED, product, scattered, host.blocks, (no_depthwise, none, none, none)
            )
    product = plan_forward(gathered, N, itemsize, False, host)
    if no_gather.reason == 0:
        return InputGradientPlan(
            conv, N, last, last, GATHERED, product, scattered, host.blocks, (no_depthwise, in_order, none, none)
        )
    no_phases = rejected(PHASED, ONE_PHASE, 1, 2)
    if phases > 1:
        no_phases = _reject_products(PHASED, border_products(conv), limits.products)
    return InputGradientPlan(
        conv, N, last, last, SCATTERED if no_phases.reason else PHASED, product, scattered, host.blocks,
        (no_depthwise, in_order, no_gather, no_phases),
    )  # fmt: skip


@jitable
def _reject_products(algorithm: int, products: float, most: float) -> Rejected:
    """Why the gradient is not computed as a convolution that takes so many products for each that is needed."""
    return rejected(algorithm, PRODUCTS, products, most) if products > most else accepted()
