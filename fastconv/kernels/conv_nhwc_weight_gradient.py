"""The gradient of the weights of images with channels last, whose output gradient is read where it lies.

The sums of some output channels and of vectors of input channels stay in registers for a block of pixels.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.partition import block_begin, even_parts, tile_blocks
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import aligned, chain_of
from fastconv.kernels.indirection import list_pixels, row_offsets
from fastconv.kernels.micro.copy import copy_rows
from fastconv.kernels.micro.gemm import add_to_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel
from fastconv.kernels.micro.vectors import TILE_ROWS, VECTOR_BYTES


@kernel
def weight_gradient_last(team, g, x, rows, runs, steps, groups, threads, at_once, sums) -> bool:
    """sums[s, oc, t, c] = sum over the pixels p of shard s that tap t reaches of g[n, p, oc] * x[n, pixel of p, c].

    A shard is a run of blocks of rows of pixels, each through the batch. See `borders.tap_rectangles` for `runs` and
    `pixel_steps` for `steps`, in cells of one channel; rows are the vertical axis. Returns whether g is finite, as the
    sums of a tap tell that reaches all pixels.

    Precondition: g (N, OH, OW, OC), x (N, H, W, C), sums (shards, OC, taps, C/groups); runs and steps int64; some
    tap reaches all pixels. Parallel over (shard, group, part of its output channels, block of input channels), each of
    which owns its part of sums; balanced for `threads` threads.
    """
    N, OH, OW, OC = g.shape
    H, W, C = x.shape[1:]
    shards, _, taps, channels = sums.shape
    per_group, K = OC // groups, taps * channels
    flat_g, flat_x, flat = g.reshape(-1), x.reshape(-1), sums.reshape(-1)
    lanes = VECTOR_BYTES // x.itemsize
    blocks, width = tile_blocks(channels, lanes)
    parts = even_parts(shards * groups * blocks, 1, ceil_div(per_group, TILE_ROWS), threads)
    share = ceil_div(per_group, parts * TILE_ROWS) * TILE_ROWS
    parts = ceil_div(per_group, share)
    lines = max(1, at_once // max(OW, W * rows[2]))  # rows of pixels at once
    reached = min(H, (lines - 1) * rows[2] + (rows[1] - 1) * rows[3] + 1)
    targets, sources = row_offsets(min(share, per_group), K), row_offsets(min(share, per_group), np.int64(1))
    own, steps = runs.copy(), steps * width
    own[:, 6] *= width
    nothing, zero, one, lowest = np.zeros(width, g.dtype), np.int64(0), np.int64(1), g.dtype.type(-np.inf)
    everywhere, odd, chain = np.int64(0), 0, chain_of(N * OH * OW)
    for r in range(len(runs)):
        if (runs[r, 3] - runs[r, 2]) * (runs[r, 5] - runs[r, 4]) == OH * OW:
            everywhere = runs[r, 0]
    all_steps = ceil_div(OH, lines) * N
    for task in prange(team, shards * groups * blocks * parts):
        rest, block = divmod(task, blocks)
        rest, part = divmod(rest, parts)
        shard, group = divmod(rest, groups)
        begin_step, end_step = shard * all_steps // shards, (shard + 1) * all_steps // shards
        begin = block_begin(channels, blocks, block, lanes)
        n_channels = block_begin(channels, blocks, block + 1, lanes) - begin
        oc, c = group * per_group + part * share, group * channels + begin
        mine, target = min(share, per_group - part * share), (shard * OC + oc) * K + begin
        if len(runs) < taps or begin_step == end_step:  # otherwise every sum has a beginning below
            for row in range(mine * taps):
                flat[target + row * channels : target + row * channels + n_channels] = 0
        pixels = aligned(reached * W * width, x.dtype)
        cells, places = np.empty((len(runs), lines * OW), np.uint64), np.empty((len(runs), lines * OW), np.uint64)
        counts = np.empty(len(runs), np.int64)
        first, last = 0, 0
        for step in range(begin_step, end_step):
            n, oy = step % N, step // N * lines
            if n == 0 or step == begin_step:
                end = min(oy + lines, OH)
                first = max(0, min(H, oy * rows[2] - rows[4]))
                last = max(first, min(H, (end - 1) * rows[2] - rows[4] + (rows[1] - 1) * rows[3] + 1))
                for r in range(len(runs)):
                    counts[r] = list_pixels(
                        cells[r], places[r], own[r], steps, oy * OW, end * OW, OW, -first * W * width,
                        oy * OW * OC + oc, OC,
                    )  # fmt: skip
            # a copy, whose vectors do not lie across cache lines, serves all taps and output channels
            copy_rows(
                (last - first) * W, pixels, zero, width, flat_x, (n * H + first) * W * C + c, C, one, zero,
                n_channels, n_channels,
            )  # fmt: skip
            for r in range(len(runs)):
                add_to_rows(
                    Panel(flat, targets[:mine], zero), target + runs[r, 0],
                    Matrix(flat_g, sources[:mine], places[r, : counts[r]]), n * OH * OW * OC,
                    Panel(pixels, cells[r, : counts[r]], zero), zero,
                    Epilogue(nothing, step == begin_step, lowest), chain, n_channels,
                )  # fmt: skip
        check = g.dtype.type(0)
        for row in range(mine):
            check += flat[target + row * K + everywhere] * 0
        odd += 0 if check == 0 else 1
    return odd == 0
