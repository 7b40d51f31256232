"""The ways in which the engine computes a convolution: which were taken, and how to make it take another.

The engine chooses by estimates of time. A test that relied on them would stop testing a variant, in silence, as soon as
an estimate changes; so tests either demand the variant, or assert that it occurred. Plans are data: to demand is to
replace fields of them, or limits of the processor that they follow from; and what ran is compared with the plan.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

from hypothesis import strategies as st

from fastconv._engine import calls
from fastconv._geometry.layout import IN_PLACE, SHIFTED_COPIES, Layout, copied, wide_rows
from fastconv._plans.names import Algorithm, Winograd
from fastconv._plans.records import (
    BY_IMAGE,
    DIRECT,
    DOTS,
    DOTS_BY_GROUP,
    GATHERED,
    PHASED,
    ForwardPlan,
    InputGradientPlan,
)
from fastconv._runtime import jit, recording, switches
from fastconv._runtime.host import HOST

NEVER = 2**31

# in place, nothing is copied, so shares of images have no planes to keep; unrolled planes have no garbage cells
FORWARD = frozenset(
    {
        *(f"{planes}, {cells}" for planes in ("in place", "split") for cells in ("straight", "by rows", "scratch")),
        *(f"split, {cells}, shared" for cells in ("straight", "by rows", "scratch")),
        "unrolled, straight",
        "unrolled, straight, shared",
        "in place, packed",
        "in place, channelwise",
        "split, packed",
    }
)
RUNS = ("straight", "by rows", "wide")
EVERY = frozenset(
    {
        *(f"forward: {way}" for way in FORWARD),
        *(f"gathered: {way}" for way in FORWARD),
        "turned weights",
        "phased",
        "spread",
        *(f"scattered: {planes}, {runs}" for planes in ("in place", "merged") for runs in RUNS),
        *(f"weight: dotted, {planes}, {runs}" for planes in ("in place", "split") for runs in RUNS),
        "weight: dotted, unrolled, straight",
        "weight: dotted, by group",
        "weight: channelwise",
        *(f"weight: turned, {planes}, {sums}" for planes in ("in place", "split") for sums in ("shards", "blocks")),
    }
)


class Ran(NamedTuple):
    """A plan that was carried out, and the kernels that ran meanwhile, in order, with their arguments."""

    plan: Any
    kernels: list[str]
    arguments: list[tuple[Any, ...]]


@contextlib.contextmanager
def carried_out() -> Iterator[list[Ran]]:
    """What is carried out inside: each plan with the kernels that ran."""
    done: list[Ran] = []
    call = jit.Kernel.__call__

    def running(function, where, plan, *args):
        done.append(Ran(plan, [], []))
        function(where, *args)

    def called(kernel, *args):
        if done:
            done[-1].kernels.append(kernel.__name__)
            done[-1].arguments.append(args)
        return call(kernel, *args)

    # prepared launches are calls of their kernels while anything is recorded, as if by another thread here
    elsewhere = mock.patch.object(recording, "current", mock.Mock(here=lambda: False))
    told = mock.patch.object(calls, "VERBOSE", True), mock.patch.object(calls, "_run", running)
    with told[0], told[1], elsewhere, mock.patch.object(jit.Kernel, "__call__", called):
        yield done


def _planes(layout: Layout) -> str:
    return {IN_PLACE: "in place", SHIFTED_COPIES: "unrolled"}.get(layout.kind, "split")


def _cells(layout: Layout, plan: Any) -> str:
    return "straight" if layout.WP == plan.conv.columns.out else "by rows" if layout.by_rows else "scratch"


def _forward(plan: ForwardPlan, kernels: list[str]) -> str:
    if "convolve_planes" in kernels:
        return "in place, channelwise"
    if "forward_packed" in kernels:
        return f"{_planes(plan.layout)}, packed"
    shared = ", shared" * ("split_and_forward" in kernels)
    return f"{_planes(plan.layout)}, {_cells(plan.layout, plan)}{shared}"


def _runs(layout: Layout, plan: Any, kernels: list[str]) -> str:
    return "wide" if "widen" in kernels else "straight" if layout.WP == plan.conv.columns.out else "by rows"


def names(ran: Ran) -> set[str]:
    """The names in EVERY of what ran; of a weight gradient of images as they are "weight: in place"."""
    plan, kernels, _ = ran
    if isinstance(plan, ForwardPlan):
        return {f"forward: {_forward(plan, kernels)}"}
    if isinstance(plan, InputGradientPlan):
        if "input_gradient" in kernels:
            planes = "in place" if plan.layout.kind == IN_PLACE else "merged"
            return {f"scattered: {planes}, {_runs(plan.layout, plan, kernels)}"}
        if plan.algorithm == PHASED:
            return {"phased"}
        if "planes_input_gradient" in kernels:
            return {"spread"}
        turned = {"turned weights"} if "gather_weights" in kernels else set()
        return {f"gathered: {_forward(plan.product, kernels)}"} | turned
    if "weight_gradient_last" in kernels:
        return {"weight: in place"}
    if "planes_weight_gradient" in kernels:
        return {"weight: channelwise"}
    if "split_and_weight_gradient" in kernels:
        return {"weight: dotted, by group"}
    if "weight_gradient" in kernels:
        return {f"weight: dotted, {_planes(plan.layout)}, {_runs(plan.layout, plan, kernels)}"}
    sums = "shards" if "weight_gradient_sharded" in kernels else "blocks"
    return {f"weight: turned, {_planes(plan.layout)}, {sums}"}


@contextlib.contextmanager
def recorded() -> Iterator[set[str]]:
    """The names of what is carried out inside, complete when it ends."""
    seen: set[str] = set()
    with carried_out() as done:
        yield seen
    for ran in done:
        seen |= names(ran)


LAYOUTS = ("unrolled", "by rows", "wide")


@contextlib.contextmanager
def demanded(
    layout: str | None = None,
    packed: bool | None = None,
    gathers: bool | str | None = None,
    shared: bool | None = None,
    turned: bool | None = None,
    sharded: bool | None = None,
    apart: bool | None = None,
    last: bool | None = None,
    unpadded: bool | None = None,
    ready: bool | None = None,
    winograd: bool | None = None,
) -> Iterator[None]:
    """Make the engine take these variants wherever it can; None leaves a choice to it.

    The input gradient is gathered, gathered phase by phase where there are phases ("phases"), or scattered (False).
    Images with channels last are convolved in that order, or moved; in that order they are `unpadded`, as for the
    gradient of the weights where it can be summed in place, or copied into padded planes. Packed weights are `ready`
    before the convolution, or packed in parts by its tasks. Winograd's algorithm is taken wherever it can be, or never.
    """
    limits: dict[str, Any] = {}
    for demand, fields in (
        (packed, [name for name in HOST.limits._fields if name.startswith("packed")]),
        (shared, ["images"]),
        (turned, ["outer_channels", "outer_terms"]),
        (last, ["last", "depthwise"]),
        (unpadded, ["unpadded_pixels", "last_channels"]),
        (ready, ["ready_pixels"]),
    ):
        if demand is not None:
            limits |= dict.fromkeys(fields, 1 if demand else NEVER)
    if gathers is not None:
        limits["products"] = math.inf if gathers else 0.0
    if sharded is not None:
        limits["sharded"] = NEVER if sharded else 0
    if apart is not None:
        limits["apart"] = 1 if apart else NEVER
    host = HOST._replace(limits=HOST.limits._replace(**limits))

    def laid_out(plan: Any, itemsize: int = 4) -> Any:
        """The plan with the demanded layout, where it is of padded rows."""
        forward = plan.algorithm in (DIRECT, BY_IMAGE)
        if layout is None or not (forward or plan.algorithm in (DOTS, DOTS_BY_GROUP)):
            return plan
        conv = plan.conv
        found = wide_rows(conv, layout == "unrolled", plan.algorithm in (DOTS, DOTS_BY_GROUP))[0]
        found = found._replace(by_rows=layout == "by rows" and found.WP != conv.columns.out)
        room = conv.C // conv.groups * found.cells * itemsize <= host.limits.planes
        if forward:
            by_image = copied(found) and plan.N * conv.groups >= host.limits.images and room
            return plan._replace(layout=found, fallback=found, algorithm=BY_IMAGE if by_image else DIRECT)
        small = conv.C // conv.groups * conv.rows.kernel * conv.columns.kernel <= host.blocks.taps
        small = small and conv.OC // conv.groups <= host.dot_rows
        by_group = copied(found) and conv.groups >= host.limits.images and small and room
        algorithm = DOTS_BY_GROUP if by_group else DOTS
        return plan._replace(layout=found, fallback_layout=found, algorithm=algorithm, fallback=algorithm)

    def settled(plan: Any) -> Any:
        if not isinstance(plan, InputGradientPlan):
            return laid_out(plan)
        plan = plan._replace(product=laid_out(plan.product))
        if layout is not None:
            rows = plan.layout
            plan = plan._replace(layout=rows._replace(by_rows=layout == "by rows" and rows.WP != plan.conv.columns.out))
        if gathers == "phases" and plan.algorithm == GATHERED and plan.conv.phases > 1:
            # phases are convolved along padded rows, whatever the one convolution of all of them would do
            gathered = laid_out(plan.product._replace(algorithm=DIRECT, layout=_rows_of(plan.product)))
            plan = plan._replace(algorithm=PHASED, product=gathered)
        return plan

    before = switches.winograd()
    with mock.patch.object(calls, "HOST", host), mock.patch.object(calls, "settled", settled):
        if winograd is not None:
            switches._winograd.value = Winograd.ALWAYS if winograd else Winograd.NEVER
        calls.forget()
        try:
            yield
        finally:
            switches._winograd.value = before
            calls.forget()


def _rows_of(plan: ForwardPlan) -> Layout:
    return wide_rows(plan.conv, False, False)[0]


@contextlib.contextmanager
def as_in_jitted_code() -> Iterator[None]:
    """Make Python call the serial kernels that jitted code calls, so that no others need be compiled."""
    serial = mock.patch.object(jit.Kernel, "__call__", lambda kernel, *arguments: kernel.entry(1, *arguments))
    with serial:
        yield


def every_demand() -> list[dict[str, Any]]:
    """All the demands that differ in what they make the engine do."""
    # packed weights are read with planes that are always laid out the same way
    ways = [(None, None), (None, True), *((layout, False) for layout in LAYOUTS)]
    return [
        dict(
            layout=layout,
            packed=packed,
            gathers=gathers,
            shared=other,
            turned=turned,
            sharded=other,
            apart=gathers is True,
            ready=turned,
            unpadded=other,
        )
        for (layout, packed), (other, turned, gathers) in itertools.product(
            ways, ((True, True, True), (True, False, "phases"), (False, True, False), (False, False, False))
        )
    ]


def demands() -> st.SearchStrategy[dict[str, Any]]:
    """Demands drawn independently of each other."""
    choice = st.sampled_from([None, True, False])
    return st.fixed_dictionaries(
        {
            "layout": st.sampled_from([None, *LAYOUTS]),
            "packed": choice,
            "gathers": st.sampled_from([None, True, "phases", False]),
            "shared": choice,
            "turned": choice,
            "sharded": choice,
            "apart": choice,
            "last": choice,
            "unpadded": choice,
            "ready": choice,
        }
    )


def assert_as_planned(ran: Ran) -> None:
    """The kernels that ran are those of the plan, and they were given the layout that the plan tells of."""
    plan, kernels, arguments = ran
    assert kernels == plan.kernels(), plan.line()
    assert Algorithm(plan.algorithm).name in str(plan)
    layouts = [plan.layout]
    if isinstance(plan, InputGradientPlan):
        layouts = [plan.product.fallback if plan.algorithm == PHASED else plan.product.layout]
    for name, given in zip(kernels, arguments):
        (layout,) = layouts
        if name == "forward":
            assert given[1:3] == (layout.WP, layout.by_rows), (name, plan.line())
        if name == "split_and_forward":
            own = layout.vertical, layout.horizontal, layout.HP, layout.WP, layout.by_rows
            assert given[2] == own, (name, plan.line())
        if name == "split":
            cell = plan.conv.C if layout.last else 1
            if isinstance(plan, InputGradientPlan):
                cell = plan.product.conv.C if layout.last else 1
            assert given[-1].shape[1:] == (layout.vertical, layout.copies, layout.HP, layout.WP * cell)
