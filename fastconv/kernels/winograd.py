"""Winograd's F(2x2, 3x3): a convolution of 3x3 kernels with 16 products for each four results, where direct takes 36.

The weights are transformed once; a task transforms the inputs of a block of tiles, multiplies them, a product of
matrices over the channels for each of the 16 places of a tile, and transforms the products to results.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.partition import even_part
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import jitable, kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import aligned
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.copy import copy_rows, transpose
from fastconv.kernels.micro.gemm import TERM_BLOCK, add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import TILE_VECTORS, VECTOR_BYTES
from fastconv.kernels.micro.winograd import input_tiles, output_tiles, weight_tiles

TAPS, PLACES = 9, 16  # of a kernel, and of a tile


@jitable
def channel_block(channels: int) -> int:
    """How many input channels lie side by side in transformed weights: terms that are summed at once."""
    return even_part(channels, TERM_BLOCK)


@kernel
def transform_weights(team, weight, start, steps, transformed):
    """transformed[4*a + b, block, oc, i] = (G g G^T)[a, b], g the kernel of channels oc and c = block*width + i.

    Where G = [1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1]. The weight of (oc, c, tap) is at start + oc*row + c*channel +
    tap*step of the group's.

    Precondition: weight flat; steps (row, step, channel), of which channel or step is 1, or step is -1; transformed
    (groups, 16, blocks, OC/groups, width), see `channel_block`. Parallel over (group, oc), each of which owns its part.
    """
    groups, _, blocks, OC, width = transformed.shape
    row, step, channel = steps
    flat, size = transformed.reshape(-1), weight.size // groups
    channels = size // (OC * TAPS)
    taps, zero, one = np.empty(TAPS * width, weight.dtype), np.int64(0), np.int64(1)
    for task in prange(team, groups * OC):
        group, oc = divmod(task, OC)
        for block in range(blocks):
            c, target = block * width, ((group * PLACES * blocks + block) * OC + oc) * width
            some, source = min(width, channels - c), group * size + start + oc * row + c * channel
            if channel == 1:
                for tap in range(TAPS):
                    copy_rows(one, taps, tap * width, zero, weight, source + tap * step, zero, one, zero, some, some)
            elif step == 1:
                transpose(taps, zero, weight, source, some, TAPS, width, channel)
            else:  # from last to first
                transpose(taps, (TAPS - 1) * width, weight, source - TAPS + 1, some, TAPS, -width, channel)
            weight_tiles(flat, target, blocks * OC * width, taps, zero, width, some)


@kernel
def winograd(team, x, pads, weight, bias, lowest, blocks, workspace, y) -> bool:
    """y[n, oc] = the convolution of x[n] with 3x3 kernels, plus bias[oc], clamped; whether all results are finite.

    Where they are not, they are not to be relied on: a NaN or an infinity may have come to the other pixels of its
    tile.

    Precondition: x (N, C, H, W); pads (top, left); weight of `transform_weights`; bias (OC,); blocking (blocks of
    tiles, parts of the output channels); y (N, OC, OH, OW). Parallel over (block of tiles, group, part of the output
    channels), each of which owns its part of y.
    """
    N, C, H, W = x.shape
    OC, OH, OW = y.shape[1:]
    groups, _, channel_blocks, per_group, at_once = weight.shape
    channels = C // groups
    top, left = pads
    parts = blocks[1]
    blocks = blocks[0]
    TH, TW = ceil_div(OH, 2), ceil_div(OW, 2)
    tiles, lanes = N * TH * TW, VECTOR_BYTES // x.itemsize
    units = ceil_div(tiles, TILE_VECTORS * lanes)
    pitch = ceil_div(units, blocks) * TILE_VECTORS * lanes + lanes
    width = ceil_div(per_group, parts)
    flat_x, flat_y, flat_weight = x.reshape(-1), y.reshape(-1), weight.reshape(-1)
    zero, one, minimum = np.int64(0), np.int64(1), x.dtype.type(-np.inf)
    own = workspace[team[0]]
    v, m = own[: PLACES * channels * pitch], own[PLACES * channels * pitch :]
    none = np.zeros(width, x.dtype)
    rows, columns, places = row_offsets(width, at_once), row_offsets(at_once, 1), row_offsets(channels, pitch)
    odd = 0
    for task in prange(team, blocks * groups * parts):
        rest, part = divmod(task, parts)
        block, group = divmod(rest, groups)
        begin = block * units // blocks * TILE_VECTORS * lanes
        end = min((block + 1) * units // blocks * TILE_VECTORS * lanes, tiles)
        first = part * width
        count = min(width, per_group - first)
        for c in range(channels):
            t = begin
            while t < end:  # to the end of a row of tiles
                row, tx = divmod(t, TW)
                n, ty = divmod(row, TH)
                some = min(TW - tx, end - t)
                source = (n * C + group * channels + c) * H * W
                target = c * pitch + t - begin
                input_tiles(
                    v, target, channels * pitch, flat_x, source, H, W, 2 * ty - top, 2 * tx - left, some,
                )  # fmt: skip
                t += some
        for place in range(PLACES):
            for k in range(channel_blocks):
                low, high = k * at_once, min((k + 1) * at_once, channels)
                add_rows(
                    Region(m, pitch, zero), place * width * pitch,
                    Matrix(flat_weight, rows[:count], columns[: high - low]),
                    (((group * PLACES + place) * channel_blocks + k) * per_group + first) * at_once,
                    Panel(v, places[low:high], zero), place * channels * pitch,
                    Epilogue(none[:count], k == 0, minimum), one, end - begin,
                )  # fmt: skip
        for i in range(count):
            oc, t = group * per_group + first + i, begin
            while t < end:
                row, tx = divmod(t, TW)
                n, ty = divmod(row, TH)
                some = min(TW - tx, end - t)
                target = ((n * OC + oc) * OH + 2 * ty) * OW + 2 * tx
                finite = output_tiles(
                    flat_y, target, OW, min(2, OH - 2 * ty), min(2 * some, OW - 2 * tx), m, i * pitch + t - begin,
                    width * pitch, bias[oc], lowest,
                )  # fmt: skip
                odd += 0 if finite else 1
                t += some
    return odd == 0
