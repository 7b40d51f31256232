"""Convolution and the gradient of its weights by Winograd's algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._engine.planes import channels_last
from fastconv._engine.transformed import transformed_weights
from fastconv._geometry.conv import Conv, pixels_of
from fastconv._geometry.partition import even_parts, tile_blocks
from fastconv._geometry.ranges import ceil_div
from fastconv._plans.forward import tiles_of
from fastconv._plans.records import ForwardPlan, WeightGradientPlan
from fastconv._runtime.host import HOST, Blocks
from fastconv._runtime.jit import jitable, linked
from fastconv._runtime.threads import threads_here
from fastconv.kernels import packing
from fastconv.kernels import winograd as kernels
from fastconv.kernels import winograd_weight_gradient as gradient
from fastconv.kernels.micro.vectors import TILE_VECTORS

MOST_SHARDS = 8  # of the tiles, in which weight gradients are summed apart
MOST_SUMS = 2**23  # bytes of all shards' sums, about
UNIT = 48  # tiles that a block has at least, where threads would share fewer blocks unevenly


@linked
def convolve_winograd(
    where: str, plan: ForwardPlan, x: np.ndarray, weight: np.ndarray, steps: tuple[int, int, int], bias: np.ndarray,
    lowest: Any, y: np.ndarray,
) -> bool:  # fmt: skip
    """The convolution of x, written to y, both in the plan's order; whether all results are finite.

    Where they are not, what was written cannot be relied on. `weight` is flat and `steps` as in `Weights`.
    """
    if not plan.moved:
        return _convolved(where, plan, plan.last, x, weight, steps, bias, lowest, y)
    conv = plan.conv
    moved = empty(where, (plan.N, conv.rows.out, conv.columns.out, conv.OC), y.dtype, "the result with channels last")
    if not _convolved(where, plan, True, channels_last(where, x), weight, steps, bias, lowest, moved):
        return False
    packing.transposed(moved.reshape((plan.N, pixels_of(conv), conv.OC)), y.reshape((plan.N, conv.OC, pixels_of(conv))))
    return True


@linked
def _convolved(
    where: str, plan: ForwardPlan, last: bool, x: np.ndarray, weight: np.ndarray, steps: tuple[int, int, int],
    bias: np.ndarray, lowest: Any, y: np.ndarray,
) -> bool:  # fmt: skip
    """As `convolve_winograd`, of arrays with channels `last` or first."""
    conv = plan.conv
    groups, channels, per_group = conv.groups, conv.C // conv.groups, conv.OC // conv.groups
    start = -min(steps[1], 0) * (kernels.TAPS - 1)
    pads = conv.rows.before, conv.columns.before
    tiles, threads = tiles_of(conv, plan.N), threads_here()
    blocks = even_parts(groups, ceil_div(tiles, plan.blocks.winograd_tiles), ceil_div(tiles, UNIT), threads)
    # in NCHW order vectors hold tiles, and a block of output channels is as high as a micro-kernel; else as wide
    lanes = HOST.vector_bytes // x.itemsize
    unit, width, count = HOST.tile_rows, HOST.tile_rows, ceil_div(per_group, HOST.tile_rows)
    if last:
        unit, (count, width) = lanes, tile_blocks(per_group, lanes)
    shape = (groups, kernels.PLACES, count, channels, width)
    transformed = transformed_weights(where, weight, start, steps, unit, shape)
    parts = even_parts(groups * blocks, 1, count, threads)
    together, pitch = ceil_div(tiles, blocks), TILE_VECTORS * lanes
    if not last:
        together, width = ceil_div(ceil_div(tiles, pitch), blocks) * pitch + lanes, ceil_div(count, parts) * width
    cells = kernels.PLACES * (together * (channels + width) + 2 * kernels.PAD * lanes)
    workspace = empty(where, (threads, cells + -cells % lanes), x.dtype, "the transformed tiles")
    if last:
        return kernels.winograd_last(x, pads, transformed, bias, lowest, (blocks, parts), workspace, y)
    return kernels.winograd(x, pads, transformed, bias, lowest, (blocks, parts), workspace, y)


@jitable
def tile_shards(conv: Conv, tiles: int, itemsize: int, blocks: Blocks) -> tuple[int, int]:
    """Into how many shards the tiles are cut, and how many of one are transformed at once.

    It follows from the sizes alone, and so do the bits of the sums.
    """
    channels, per_group = conv.C // conv.groups, conv.OC // conv.groups
    sums = kernels.PLACES * conv.OC * channels * itemsize
    shards = max(1, min(MOST_SHARDS, tiles // UNIT, MOST_SUMS // sums))
    at_once = blocks.winograd_bytes // (4 * (channels + per_group) * itemsize)
    return shards, max(1, min(max(UNIT, at_once), ceil_div(tiles, shards)))


@linked
def winograd_weight_gradient(
    where: str, plan: WeightGradientPlan, g: np.ndarray, x: np.ndarray, grad: np.ndarray
) -> bool:
    """The gradient of the weights, of arrays in the plan's order; whether all of it is finite.

    Where it is not, what was written cannot be relied on.
    """
    conv = plan.conv
    channels = conv.C // conv.groups
    if plan.last:
        return _sums_of_tiles(where, plan, g, x, grad.reshape((conv.OC, kernels.TAPS, channels)))
    moved_g, moved_x = channels_last(where, g), channels_last(where, x)
    found = np.empty((conv.OC, kernels.TAPS, channels), grad.dtype)
    finite = _sums_of_tiles(where, plan, moved_g, moved_x, found)
    packing.transposed(found, grad.reshape((conv.OC, channels, kernels.TAPS)))
    return finite


@linked
def _sums_of_tiles(where: str, plan: WeightGradientPlan, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> bool:
    """As `winograd_weight_gradient`, with channels last."""
    conv = plan.conv
    channels, per_group, lanes = conv.C // conv.groups, conv.OC // conv.groups, HOST.vector_bytes // x.itemsize
    shards, most = tile_shards(conv, tiles_of(conv, plan.N), x.itemsize, plan.blocks)
    shape = (shards, conv.groups, kernels.PLACES, per_group, channels)
    parts = empty(where, shape, grad.dtype, "the shards of the weight gradient")
    cells = gradient.ROWS * (most * (channels + per_group) + 2 * kernels.PAD * lanes)
    workspace = empty(where, (threads_here(), cells + -cells % lanes), x.dtype, "the transformed tiles")
    gradient.winograd_products(g, x, (conv.rows.before, conv.columns.before), most, workspace, parts)
    return gradient.winograd_weights(parts, grad)
