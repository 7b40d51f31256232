"""The ways in which the engine computes a convolution: which were taken, and how to make it take another.

The engine chooses by estimates of time. A test that relied on them would stop testing a variant, in silence, as soon as
an estimate changes; so tests either demand the variant, or assert that it occurred.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from fastconv import _plan
from fastconv._engine import call, forward, input_gradient, turned, weight_gradient
from fastconv._geometry import conv, conv_transpose
from fastconv._geometry.conv import ConvGeometry
from fastconv._geometry.layout import laid_out
from fastconv._runtime import jit
from fastconv.kernels import conv as kernels
from fastconv.kernels import conv_gradients as gradients
from fastconv.kernels import conv_nhwc_weight_gradient
from fastconv.kernels import conv_packed as packed_kernels
from fastconv.kernels import packing as moves


def _forward(geometry: ConvGeometry, shared: bool) -> str:
    planes = "in place" if geometry.in_place else "unrolled" if geometry.unrolled else "split"
    cells = "straight" if geometry.WP == geometry.columns.out else "by rows" if geometry.by_rows else "scratch"
    return f"{planes}, {cells}{', shared' if shared else ''}"


# in place, nothing is copied, so shares of images have no planes to keep; unrolled planes have no garbage cells
FORWARD = frozenset(
    {
        *(f"{planes}, {cells}" for planes in ("in place", "split") for cells in ("straight", "by rows", "scratch")),
        *(f"split, {cells}, shared" for cells in ("straight", "by rows", "scratch")),
        "unrolled, straight",
        "unrolled, straight, shared",
        "in place, packed",
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
        *(f"scattered: {planes}, {runs}" for planes in ("in place", "merged") for runs in RUNS),
        *(f"weight: dotted, {planes}, {runs}" for planes in ("in place", "split") for runs in RUNS),
        "weight: dotted, unrolled, straight",
        "weight: dotted, by group",
        *(f"weight: turned, {planes}, {sums}" for planes in ("in place", "split") for sums in ("shards", "blocks")),
    }
)


@contextlib.contextmanager
def recorded() -> Iterator[set[str]]:
    """The set of the variants that are taken inside."""
    seen: set[str] = set()
    purpose = ["forward"]
    last_runs: list[str] = []

    def spy(place: Any, name: str, note: Any) -> Any:
        original = getattr(place, name)

        def called(*args: Any, **keywords: Any) -> Any:
            note(*args, **keywords)
            return original(*args, **keywords)

        return mock.patch.object(place, name, called)

    def convolve(where, x, weights, bias, floor, geometry, y):
        # which of the kernels ran is noted by themselves
        last_runs[:] = [geometry]

    def ran(shared):
        return lambda *args: seen.add(f"{purpose[-1]}: {_forward(last_runs[0], shared)}" if last_runs else "phased")

    def packed(*args):
        if last_runs:  # otherwise of images with channels last
            seen.add(f"{purpose[-1]}: {'in place' if last_runs[0].by_pixel.in_place else 'split'}, packed")

    original_gathered, original_runs = input_gradient._gathered, input_gradient.runs_of

    def gathered(*args):
        purpose.append("gathered")
        try:
            return original_gathered(*args)
        finally:
            purpose.pop()

    def phased(*args):
        last_runs.clear()  # one table of planes for all phases, whose forward products are not told apart

    def runs(where, g, geometry, by_rows):
        result, flat = original_runs(where, g, geometry, by_rows)
        kind = "wide" if flat.size != g.size else "straight" if geometry.WP == geometry.columns.out else "by rows"
        last_runs[:] = [geometry, kind]
        return result, flat

    def scattered(*args):
        geometry, kind = last_runs
        seen.add(f"scattered: {'in place' if geometry.in_place else 'merged'}, {kind}")

    def dotted(*args):
        geometry, kind = last_runs
        planes = "in place" if geometry.in_place else "unrolled" if geometry.unrolled else "split"
        seen.add(f"weight: dotted, {planes}, {kind}")

    def turned_gradient(where, g, x, geometry):
        last_runs[:] = [geometry]

    def summed(how):
        return lambda *args: seen.add(
            f"weight: turned, {'in place' if last_runs[0].by_pixel.in_place else 'split'}, {how}"
        )

    with contextlib.ExitStack() as stack:
        for patch in (
            spy(forward, "convolve", convolve),
            spy(kernels, "forward", ran(False)),
            spy(kernels, "split_and_forward", ran(True)),
            spy(packed_kernels, "forward_packed", packed),
            mock.patch.object(input_gradient, "_gathered", gathered),
            spy(input_gradient, "_phased", phased),
            spy(moves, "turn", lambda *args: seen.add("turned weights")),
            mock.patch.object(input_gradient, "runs_of", runs),
            mock.patch.object(weight_gradient, "runs_of", runs),
            spy(gradients, "input_gradient", scattered),
            spy(gradients, "weight_gradient", dotted),
            spy(gradients, "split_and_weight_gradient", lambda *args: seen.add("weight: dotted, by group")),
            spy(turned, "weight_gradient", turned_gradient),
            spy(gradients, "weight_gradient_sharded", summed("shards")),
            spy(gradients, "weight_gradient_turned", summed("blocks")),
            spy(conv_nhwc_weight_gradient, "weight_gradient_last", lambda *args: seen.add("weight: in place")),
        ):
            stack.enter_context(patch)
        yield seen


LAYOUTS = ("unrolled", "by rows", "wide")


@contextlib.contextmanager
def demanded(
    layout: str | None = None,
    packed: bool | None = None,
    gathers: bool | str | None = None,
    shared: bool | None = None,
    turned: bool | None = None,
    sharded: bool | None = None,
    last: bool | None = None,
    unpadded: bool | None = None,
    ready: bool | None = None,
) -> Iterator[None]:
    """Make the engine take these variants wherever it can; None leaves a choice to it.

    The input gradient is gathered, gathered phase by phase where there are phases ("phases"), or scattered (False).
    Images with channels last are convolved in that order, or moved; in that order they are `unpadded`, as for the
    gradient of the weights where it can be summed in place, or copied into padded planes. Packed weights are `ready`
    before the convolution, or packed in parts by its tasks.
    """
    patches = []
    if layout:

        def chosen(*sizes):
            return laid_out(*sizes, layout == "unrolled")

        patches.append(mock.patch.object(conv, "chosen", chosen))
        by_rows = property(lambda self: layout == "by rows" and self.WP != self.columns.out)
        patches.append(mock.patch.object(ConvGeometry, "by_rows", by_rows))
    if packed is not None:
        patches += [
            mock.patch.object(_plan, name, 1 if packed else 2**31)
            for name in vars(_plan)
            if name.startswith("LEAST_PACKED")
        ]
    if gathers is not None:
        patches.append(mock.patch.object(_plan, "MOST_PRODUCTS", math.inf if gathers else 0))
    if gathers == "phases":
        patches.append(
            mock.patch.object(input_gradient, "declines_gathered", lambda geometry: "demanded" * (geometry.phases > 1))
        )
    if shared is not None:
        patches.append(mock.patch.object(_plan, "LEAST_IMAGES", 1 if shared else 2**31))
    if turned is not None:
        patches += [
            mock.patch.object(_plan, name, 1 if turned else 2**31) for name in ("LEAST_TURNED", "LEAST_TURNED_TAPS")
        ]
    if last is not None:
        patches += [mock.patch.object(_plan, name, 1 if last else 2**31) for name in ("LEAST_LAST", "LEAST_DEPTHWISE")]
    if unpadded is not None:
        patches += [
            mock.patch.object(_plan, name, 1 if unpadded else 2**31) for name in ("LEAST_UNPADDED", "LEAST_IN_PLACE")
        ]
    if ready is not None:
        patches.append(mock.patch.object(_plan, "LEAST_READY", 1 if ready else 2**31))
    if sharded is not None:
        patches.append(mock.patch.object(_plan, "SHARDED", 2**31 if sharded else 0))
    with contextlib.ExitStack() as stack:
        # geometries are cached with their layouts
        stack.callback(_forget_geometries)
        for patch in patches:
            stack.enter_context(patch)
        _forget_geometries()
        yield


@contextlib.contextmanager
def as_in_jitted_code() -> Iterator[None]:
    """Make Python call the kernels that jitted code calls, which then need not be compiled for threads as well."""
    serial = mock.patch.object(jit.Kernel, "__call__", lambda kernel, *arguments: kernel.serial(*arguments))
    with demanded(packed=False, shared=False, turned=False, last=False), serial:
        yield


def _forget_geometries() -> None:
    conv_transpose._geometry.cache_clear()
    conv._conv_geometry.cache_clear()
    call._decided.cache_clear()


def every_demand() -> list[dict[str, Any]]:
    """All the demands that differ in what they make the engine do."""
    # packed weights are read with planes that are always laid out the same way
    ways = [(None, None), (None, True), *((layout, False) for layout in LAYOUTS)]
    return [
        dict(layout=layout, packed=packed, gathers=gathers, shared=other, turned=turned, sharded=other, ready=turned)
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
            "last": choice,
            "unpadded": choice,
            "ready": choice,
        }
    )
