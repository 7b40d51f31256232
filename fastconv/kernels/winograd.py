"""Winograd's F(2x2, 3x3): a convolution of 3x3 kernels with 16 products for each four results, where direct takes 36.

The weights are transformed once; a task transforms the inputs of a block of tiles, multiplies them, a product of
matrices over the channels for each of the 16 places of a tile, and transforms the products to results.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.partition import block_begin
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import inlined, kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import chain_of
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.copy import copy_rows, transpose
from fastconv.kernels.micro.gemm import add_rows, add_to_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import TILE_VECTORS, VECTOR_BYTES
from fastconv.kernels.micro.winograd import input_tiles, output_tiles, weight_tiles
from fastconv.kernels.micro.winograd_last import input_tile_last, output_tile_last

TAPS, PLACES = 9, 16  # of a kernel, and of a tile
PAD = 5  # cache lines between the places of all tiles
MOST_TAPS = 1024  # weights of each tap that are transformed at once: they stay in the L1 cache
WHOLE = 16  # output channels of a block from which a row of them is vectors enough
ROW = 32  # output channels that are transformed together where those of a channel lie side by side, kernel by kernel
TASKS = 8  # that this must leave


@inlined
def _transform_rows(team, transformed, sizes, weight, start, row, unit):
    """As `transform_weights`, of weights whose output channels are rows of taps, channel by channel."""
    groups, blocks, C, width = sizes
    flat, size, zero = transformed, weight.size // groups, np.int64(0)
    some = max(1, min(C, MOST_TAPS // width))
    taps, line = np.zeros(some * TAPS * width, weight.dtype), TAPS * width
    for task in prange(team, groups * blocks):
        group, block = divmod(task, blocks)
        begin = block_begin(size // (C * TAPS), blocks, block, unit)
        count = block_begin(size // (C * TAPS), blocks, block + 1, unit) - begin
        for c in range(0, C, some):
            terms, source = min(some, C - c), start + group * size + begin * row + c * TAPS
            transpose(taps, zero, weight, source, count, terms * TAPS, width, row)
            place = ((group * PLACES * blocks + block) * C + c) * width
            for i in range(terms):
                weight_tiles(flat, place + i * width, blocks * C * width, taps, i * line, width, width)


@kernel
def transform_weights(team, weight, start, steps, unit, transformed):
    """transformed[4*a + b, block, c, j] = (G g G^T)[a, b], g the kernel of output channel j of a block and channel c.

    Where G = [1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1]. The weight of (oc, c, tap) is at start + oc*row + tap*step +
    c*channel of the group's; blocks of output channels are as `block_begin` has them, of units of `unit`.

    Precondition: weight flat; steps (row, step, channel), of which one is 1, or step is -1; transformed (groups, 16,
    blocks, C/groups, width). Parallel over (group, some blocks), each of which owns its part.
    """
    groups, _, blocks, C, width = transformed.shape
    row, step, channel = steps
    flat, size, one, zero = transformed.reshape(-1), weight.size // groups, np.int64(1), np.int64(0)
    per_group, scattered = size // (C * TAPS), row != 1 and channel != 1
    if step == 1 and channel == TAPS and width >= WHOLE:
        _transform_rows(team, flat, (groups, blocks, C, width), weight, start, row, unit)
        return
    together = max(1, min(ROW // width, groups * blocks // TASKS)) if scattered else 1
    some = max(1, min(C, MOST_TAPS // (width * together)))
    line = some * width
    taps, parts = np.zeros(together * TAPS * line, weight.dtype), ceil_div(blocks, together)
    for task in prange(team, groups * parts):
        group, part = divmod(task, parts)
        first_block, end_block = part * together, min((part + 1) * together, blocks)
        for c in range(0, C, some):
            terms, source = min(some, C - c), start + group * size + c * channel
            for i in range(terms if scattered else 1):
                for block in range(first_block, end_block):
                    begin = block_begin(per_group, blocks, block, unit)
                    count = block_begin(per_group, blocks, block + 1, unit) - begin
                    target, first = (block - first_block) * TAPS * line + i * width, source + begin * row + i * channel
                    if scattered and step == 1:
                        transpose(taps, target, weight, first, count, TAPS, line, row)
                    elif scattered:  # from last to first
                        transpose(taps, target + (TAPS - 1) * line, weight, first - TAPS + 1, count, TAPS, -line, row)
                    else:
                        for tap in range(TAPS):
                            if row == 1:
                                copy_rows(
                                    terms, taps, tap * line, width, weight, first + tap * step, channel, one, zero,
                                    count, count,
                                )  # fmt: skip
                            else:
                                transpose(taps, tap * line, weight, first + tap * step, count, terms, width, row)
            for block in range(first_block, end_block):
                place = ((group * PLACES * blocks + block) * C + c) * width
                weight_tiles(
                    flat, place, blocks * C * width, taps, (block - first_block) * TAPS * line, line, terms * width
                )  # fmt: skip


@kernel
def winograd(team, x, pads, weight, bias, lowest, blocking, workspace, y) -> bool:
    """y[n, oc] = the convolution of x[n] with 3x3 kernels, plus bias[oc], clamped; whether all results are finite.

    Where they are not, they are not to be relied on: a NaN or an infinity may have come to the other pixels of its
    tile.

    Precondition: x (N, C, H, W); pads (top, left); weight of `transform_weights`, in blocks of a micro-kernel's rows;
    bias (OC,); blocking (blocks of tiles, parts of the output channels); workspace (threads, cells), of which each
    thread has a row for its transformed tiles and products; y (N, OC, OH, OW). Parallel over (block of tiles, group,
    part of the output channels), each of which owns its part of y.
    """
    N, C, H, W = x.shape
    OC, OH, OW = y.shape[1:]
    groups, _, row_blocks, channels, height = weight.shape
    per_group = OC // groups
    (top, left), (blocks, parts) = pads, blocking
    TH, TW = ceil_div(OH, 2), ceil_div(OW, 2)
    tiles, lanes = N * TH * TW, VECTOR_BYTES // x.itemsize
    units = ceil_div(tiles, TILE_VECTORS * lanes)
    pitch = ceil_div(units, blocks) * TILE_VECTORS * lanes + lanes
    width = ceil_div(row_blocks, parts) * height
    flat_x, flat_y, flat_weight = x.reshape(-1), y.reshape(-1), weight.reshape(-1)
    zero, one, minimum = np.int64(0), np.int64(1), x.dtype.type(-np.inf)
    # the places' pitch is no multiple of a page: its sixteen cache lines would share one set
    v_step, m_step = channels * pitch + PAD * lanes, width * pitch + PAD * lanes
    if team[0] >= len(workspace):
        return True  # another thread of the program has asked for more threads meanwhile
    own, team = workspace[team[0]], (team[0], min(team[1], len(workspace)))
    v, m = own[: PLACES * v_step], own[PLACES * v_step : PLACES * (v_step + m_step)]
    none = np.zeros(width, x.dtype)
    columns, places, rows = row_offsets(channels, height), row_offsets(channels, pitch), np.empty(width, np.uint64)
    for i in range(width):
        rows[i] = i // height * channels * height + i % height
    odd = 0
    for task in prange(team, blocks * groups * parts):
        rest, part = divmod(task, parts)
        block, group = divmod(rest, groups)
        begin = block * units // blocks * TILE_VECTORS * lanes
        end = min((block + 1) * units // blocks * TILE_VECTORS * lanes, tiles)
        first = part * row_blocks // parts * height
        count = min((part + 1) * row_blocks // parts * height, per_group) - first
        for c in range(channels):
            t = begin
            while t < end:  # to the end of a row of tiles
                row, tx = divmod(t, TW)
                n, ty = divmod(row, TH)
                some = min(TW - tx, end - t)
                source = (n * C + group * channels + c) * H * W
                target = c * pitch + t - begin
                input_tiles(v, target, v_step, flat_x, source, H, W, 2 * ty - top, 2 * tx - left, some)
                t += some
        for place in range(PLACES):
            add_rows(
                Region(m, pitch, zero), place * m_step, Matrix(flat_weight, rows[:count], columns),
                ((group * PLACES + place) * row_blocks * height + first) * channels, Panel(v, places, zero),
                place * v_step, Epilogue(none[:count], np.bool_(True), minimum), one, end - begin,
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
                    m_step, bias[oc], lowest,
                )  # fmt: skip
                odd += 0 if finite else 1
                t += some
    return odd == 0


@kernel
def winograd_last(team, x, pads, weight, bias, lowest, blocking, workspace, y) -> bool:
    """As `winograd`, with channels last: vectors hold channels.

    Precondition: x (N, H, W, C); weight in blocks of a tile's width, see `tile_blocks`; blocking (blocks of tiles,
    parts of the blocks of output channels); y (N, OH, OW, OC); the others as there.
    """
    N, H, W, C = x.shape
    OH, OW, OC = y.shape[1:]
    groups, _, channel_blocks, channels, width = weight.shape
    (top, left), (blocks, parts) = pads, blocking
    TH, TW = ceil_div(OH, 2), ceil_div(OW, 2)
    tiles, lanes, per_group = N * TH * TW, VECTOR_BYTES // x.itemsize, OC // groups
    flat_x, flat_y, flat_weight = x.reshape(-1), y.reshape(-1), weight.reshape(-1)
    zero, minimum, most = np.int64(0), x.dtype.type(-np.inf), ceil_div(tiles, blocks)
    v_step, m_step = most * channels + PAD * lanes, most * width + PAD * lanes
    if team[0] >= len(workspace):
        return True  # another thread of the program has asked for more threads meanwhile
    own, team = workspace[team[0]], (team[0], min(team[1], len(workspace)))
    v, m = own[: PLACES * v_step], own[PLACES * v_step : PLACES * (v_step + m_step)]
    none, chain = np.zeros(width, x.dtype), chain_of(channels)
    v_rows, m_rows = row_offsets(most, channels), row_offsets(most, width)
    columns, w_rows = row_offsets(channels, 1), row_offsets(channels, width)
    odd = 0
    for task in prange(team, blocks * groups * parts):
        rest, part = divmod(task, parts)
        block, group = divmod(rest, groups)
        begin, end = block * tiles // blocks, (block + 1) * tiles // blocks
        count = end - begin
        for t in range(count):
            row, tx = divmod(begin + t, TW)
            n, ty = divmod(row, TH)
            input_tile_last(
                v, t * channels, v_step, flat_x, n * H * W * C + group * channels, H, W, C, 2 * ty - top, 2 * tx - left,
                channels,
            )  # fmt: skip
        for b in range(part * channel_blocks // parts, (part + 1) * channel_blocks // parts):
            first = block_begin(per_group, channel_blocks, b, lanes)
            some = block_begin(per_group, channel_blocks, b + 1, lanes) - first
            for place in range(PLACES):
                add_to_rows(
                    Panel(m, m_rows[:count], zero), place * m_step, Matrix(v, v_rows[:count], columns), place * v_step,
                    Panel(flat_weight, w_rows, zero),
                    ((group * PLACES + place) * channel_blocks + b) * channels * width,
                    Epilogue(none, np.bool_(True), minimum), chain, some,
                )  # fmt: skip
            oc = group * per_group + first
            biases = bias[oc : oc + some]
            for t in range(count):
                row, tx = divmod(begin + t, TW)
                n, ty = divmod(row, TH)
                finite = output_tile_last(
                    flat_y, ((n * OH + 2 * ty) * OW + 2 * tx) * OC + oc, OW * OC, OC, min(2, OH - 2 * ty),
                    min(2, OW - 2 * tx), m, t * width, m_step, biases, lowest, some,
                )  # fmt: skip
                odd += 0 if finite else 1
    return odd == 0
