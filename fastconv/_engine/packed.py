"""Convolution with packed weights; of images with channels last as they are, leaving out the taps in the padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._engine.planes import planes_of
from fastconv._geometry.borders import border_areas, one_area
from fastconv._geometry.conv import pixels_of, reduction_length, taps_of
from fastconv._geometry.layout import UNPADDED, Layout, group_step
from fastconv._geometry.partition import tile_blocks
from fastconv._plans.records import ForwardPlan
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import linked
from fastconv._runtime.threads import threads_here
from fastconv.kernels import conv_packed, packing


@linked
def convolve_packed(
    where: str, plan: ForwardPlan, x: np.ndarray, weight: np.ndarray, steps: tuple[int, int, int], bias: np.ndarray,
    lowest: Any, only_finite: bool, y: np.ndarray,
) -> bool:  # fmt: skip
    """The convolution of x (N, C, H, W), or (N, H, W, C) where channels are last, written to y of the same order.

    `weight` is flat and `steps` as in `Weights`. Returns whether it was computed, which `only_finite` forbids for
    weights that are not.
    """
    conv, layout = plan.conv, plan.layout
    store = empty(where, _store(plan, weight.itemsize), weight.dtype, "the packed weights")
    if layout.kind == UNPADDED:
        # the padding's zeros times infinity are NaN, as IEEE 754 has it, so they may not be left out then
        if _run(
            plan, layout, x.reshape((plan.N, x.size // max(plan.N, 1))), weight, steps, store, bias, lowest, True, y
        ):
            return True
        if only_finite:
            return False
        layout = plan.fallback
    elif only_finite and not store.size and not packing.all_finite(weight):
        return False
    planes = planes_of(where, conv, layout, x)
    return _run(plan, layout, planes, weight, steps, store, bias, lowest, only_finite, y)


@linked
def _store(plan: ForwardPlan, itemsize: int) -> tuple[int, int, int, int]:
    """The shape of the weights that are packed once for all tasks, or one without any."""
    conv = plan.conv
    if not plan.ready:
        return (0, 0, 0, 0)
    blocks, width = tile_blocks(conv.OC // conv.groups, HOST.vector_bytes // itemsize)
    return (conv.groups, blocks, reduction_length(conv), width)


@linked
def _run(
    plan: ForwardPlan, layout: Layout, planes: np.ndarray, weight: np.ndarray, steps: tuple[int, int, int],
    store: np.ndarray, bias: np.ndarray, lowest: Any, only_finite: bool, y: np.ndarray,
) -> bool:  # fmt: skip
    conv, blocks = plan.conv, plan.blocks
    row, tap, channel = steps
    taps, channels = taps_of(conv), conv.C // conv.groups
    start = -min(tap, 0) * (taps - 1)
    outer, inner, inners = (tap, channel, channels) if layout.last else (channel, tap, taps)
    areas = border_areas(conv, layout.last) if layout.kind == UNPADDED else one_area(conv, layout)
    pixels = (conv.OC, pixels_of(conv))
    if layout.last:
        pixels = (pixels_of(conv), conv.OC)
    return conv_packed.forward_packed(
        planes.reshape(-1), (conv.C * layout.cells, group_step(conv, layout), conv.groups, conv.columns.out), areas,
        weight, (start, row, outer, inner, inners), (store, only_finite), bias, lowest, (threads_here(), layout.last),
        (blocks.packed_terms, blocks.ready_terms, blocks.packed_pixels, blocks.ready_pixels),
        y.reshape((len(y), pixels[0], pixels[1])),
    )  # fmt: skip
