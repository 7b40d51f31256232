"""Convolution by Winograd's algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._geometry.partition import even_parts, tile_blocks
from fastconv._geometry.ranges import ceil_div
from fastconv._plans.forward import tiles_of
from fastconv._plans.records import ForwardPlan
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import linked
from fastconv._runtime.threads import threads_here
from fastconv.kernels import winograd as kernels
from fastconv.kernels.micro.vectors import TILE_VECTORS

UNIT = 48  # tiles that a block has at least, where threads would share fewer blocks unevenly


@linked
def convolve_winograd(
    where: str, plan: ForwardPlan, x: np.ndarray, weight: np.ndarray, steps: tuple[int, int, int], bias: np.ndarray,
    lowest: Any, y: np.ndarray,
) -> bool:  # fmt: skip
    """The convolution of x, written to y, both in the plan's order; whether all results are finite.

    Where they are not, what was written cannot be relied on.

    `weight` is flat and `steps` as in `Weights`.
    """
    conv = plan.conv
    groups, channels, per_group = conv.groups, conv.C // conv.groups, conv.OC // conv.groups
    start = -min(steps[1], 0) * (kernels.TAPS - 1)
    pads = conv.rows.before, conv.columns.before
    tiles, threads = tiles_of(conv, plan.N), threads_here()
    blocks = even_parts(groups, ceil_div(tiles, plan.blocks.winograd_tiles), ceil_div(tiles, UNIT), threads)
    # in NCHW order vectors hold tiles, and a block of output channels is as high as a micro-kernel; else as wide
    lanes = HOST.vector_bytes // x.itemsize
    unit, width, count = HOST.tile_rows, HOST.tile_rows, ceil_div(per_group, HOST.tile_rows)
    if plan.last:
        unit, (count, width) = lanes, tile_blocks(per_group, lanes)
    shape = (groups, kernels.PLACES, count, channels, width)
    transformed = empty(where, shape, weight.dtype, "the transformed weights")
    kernels.transform_weights(weight, start, steps, unit, transformed)
    parts = even_parts(groups * blocks, 1, count, threads)
    together, pitch = ceil_div(tiles, blocks), TILE_VECTORS * lanes
    if not plan.last:
        together, width = ceil_div(ceil_div(tiles, pitch), blocks) * pitch + lanes, ceil_div(count, parts) * width
    cells = kernels.PLACES * (together * (channels + width) + 2 * kernels.PAD * lanes)
    workspace = empty(where, (threads, cells + -cells % lanes), x.dtype, "the transformed tiles")
    if plan.last:
        return kernels.winograd_last(x, pads, transformed, bias, lowest, (blocks, parts), workspace, y)
    return kernels.winograd(x, pads, transformed, bias, lowest, (blocks, parts), workspace, y)
