"""Depthwise convolution of images with channels last: each channel has its own weights; vectors hold channels.

The image is read as it is; a pixel near the border takes the taps that lie inside.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div, valid_range
from fastconv._geometry.segments import runs_of
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import CHAIN, set_aside, steps_between
from fastconv.kernels.micro.depthwise import add_products, add_to_taps, convolve_pixels
from fastconv.kernels.micro.records import Epilogue, Panel, Region

GRADIENT_PIXELS = 8  # pixels whose products all taps sum before the next: those of a few hundred channels stay in L1
TASK_ROWS = 4  # rows of pixels that one task computes: the rows of the image that they share stay in the L2 cache


@kernel
def depthwise(team, x, rows, columns, segments, weight, bias, floor, y):
    """y[n, oy, ox, c] = bias[c] + sum over the taps t inside the image of weight[t, c] * x[n, .., .., c].

    Results up to `floor` are stored as `floor`. Axes as in `axes.Axis`, `segments` as in `Segments`.

    Precondition: x (N, H, W, C), weight (taps, C), bias (C,), y (N, OH, OW, C). Parallel over blocks of rows of y, each
    of which is its own.
    """
    N, OH, OW, C = y.shape
    H, W = x.shape[1:3]
    KH, T, sx, left, zero = rows[1], len(weight), columns[2], columns[4], np.int64(0)
    flat_x, flat_w, flat_y = x.reshape(-1), weight.reshape(-1), y.reshape(-1)
    bounds, taps, cells, places, run_cells, run_places = segments
    target, epilogue = Region(flat_y, C, zero), Epilogue(bias, np.bool_(True), floor)
    pixels, kernel_runs = Panel(flat_x, run_cells, C), Panel(flat_w, run_places, C)
    # neighbouring pixels share those that their taps read; the sums of more than CHAIN terms are added to each other
    shared = ENABLED and sx == columns[3] == 1 and T <= CHAIN
    blocks = ceil_div(OH, TASK_ROWS)
    for task in prange(team, N * blocks):
        n, block = divmod(task, blocks)
        for oy in range(block * TASK_ROWS, min((block + 1) * TASK_ROWS, OH)):
            top = oy * rows[2] - rows[4]
            ky0, ky1 = valid_range(top, rows[3], H, KH)
            for segment in range(len(taps)):
                ox, across, at = bounds[segment], taps[segment, 1] - taps[segment, 0], segment * T
                count, y0 = bounds[segment + 1] - ox, ((n * OH + oy) * OW + ox) * C
                source = ((n * H + top) * W + ox * sx - left) * C  # where all taps of the kernel begin, maybe outside
                if shared and across != 1:
                    threes, twos = runs_of(across)
                    second = at + KH * threes
                    convolve_pixels(
                        target, y0, pixels, source, kernel_runs, epilogue,
                        (at + ky0 * threes, at + ky1 * threes, second + ky0 * twos, second + ky1 * twos), count, C,
                    )  # fmt: skip
                else:
                    low, high = at + ky0 * across, at + ky1 * across
                    add_products(
                        target, y0, Panel(flat_x, cells[low:high], sx * C), source,
                        Panel(flat_w, places[low:high], zero), zero, epilogue, high - low, count, C,
                    )  # fmt: skip


@kernel
def depthwise_weight_gradient(team, g, x, rows, columns, segments, parts):
    """parts[s, t, c] = sum over the pixels of shard s that the tap t reaches of g[n, oy, ox, c] * x[n, .., .., c].

    A shard is a run of rows of pixels, through the batch; axes and segments are as for `depthwise`.

    Precondition: g (N, OH, OW, C), x (N, H, W, C), parts (shards, taps, C). Parallel over shards, each of which owns
    its part.
    """
    N, OH, OW, C = g.shape
    H, W = x.shape[1:3]
    shards, T = parts.shape[:2]
    flat_x, flat_g, flat = x.reshape(-1), g.reshape(-1), parts.reshape(-1)
    bounds, taps, cells, places = segments[:4]
    zero = np.int64(0)
    x_pixels, g_pixels = Panel(flat_x, cells, columns[2] * C), Region(flat_g, zero, C)
    steps = ceil_div(OW, GRADIENT_PIXELS) + 1
    between = max(1, steps_between(N * OH // shards * steps) // steps)
    for shard in prange(team, shards):
        own = flat[shard * T * C : (shard + 1) * T * C]
        own[:] = 0
        begin_row, end_row = shard * N * OH // shards, (shard + 1) * N * OH // shards
        aside = np.zeros(T * C if end_row - begin_row > between else 0, g.dtype)
        for row in range(begin_row, end_row):
            if row > begin_row and (row - begin_row) % between == 0:
                set_aside(aside, own)
                own[:] = 0
            n, oy = divmod(row, OH)
            top = oy * rows[2] - rows[4]
            ky0, ky1 = valid_range(top, rows[3], H, rows[1])
            for segment in range(len(taps)):
                across = taps[segment, 1] - taps[segment, 0]
                low, high = segment * T + ky0 * across, segment * T + ky1 * across
                for ox in range(bounds[segment], bounds[segment + 1], GRADIENT_PIXELS):
                    add_to_taps(
                        own, zero, places, x_pixels, ((n * H + top) * W + ox * columns[2] - columns[4]) * C, g_pixels,
                        (row * OW + ox) * C, low, high, min(GRADIENT_PIXELS, bounds[segment + 1] - ox), C,
                    )  # fmt: skip
        if aside.size > 0:
            set_aside(own, aside)
