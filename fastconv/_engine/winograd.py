"""Convolution by Winograd's algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._geometry.partition import even_parts
from fastconv._geometry.ranges import ceil_div
from fastconv._plans.forward import tiles_of
from fastconv._plans.records import ForwardPlan
from fastconv._runtime.jit import linked
from fastconv._runtime.threads import threads_here
from fastconv.kernels import winograd as kernels


@linked
def convolve_winograd(
    where: str, plan: ForwardPlan, x: np.ndarray, weight: np.ndarray, steps: tuple[int, int, int], bias: np.ndarray,
    lowest: Any, y: np.ndarray,
) -> bool:  # fmt: skip
    """The convolution of x (N, C, H, W), written to y; whether that can be relied on, all results being finite.

    `weight` is flat and `steps` as in `Weights`.
    """
    conv = plan.conv
    groups, channels, per_group = conv.groups, conv.C // conv.groups, conv.OC // conv.groups
    width = kernels.channel_block(channels)
    shape = (groups, kernels.PLACES, ceil_div(channels, width), per_group, width)
    transformed = empty(where, shape, weight.dtype, "the transformed weights")
    start = -min(steps[1], 0) * (kernels.TAPS - 1)
    kernels.transform_weights(weight, start, steps, transformed)
    tiles, threads = tiles_of(conv, plan.N), threads_here()
    blocks = even_parts(groups, ceil_div(tiles, plan.blocks.winograd_tiles), ceil_div(tiles, 48), threads)
    parts = even_parts(groups * blocks, 1, ceil_div(per_group, 8), threads)
    pads = conv.rows.before, conv.columns.before
    return kernels.winograd(x, pads, transformed, bias, lowest, (blocks, parts), y)
