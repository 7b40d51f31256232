"""Depthwise convolution of images with channels last: each channel has its own weights; vectors hold channels.

The image is read as it is; a pixel near the border takes the taps that lie inside.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div, valid_range
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import helper, inlined, kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import CHAIN, set_aside, steps_between
from fastconv.kernels.micro.depthwise import add_products, add_to_taps, convolve_pixels
from fastconv.kernels.micro.records import Epilogue, Panel, Region

GRADIENT_PIXELS = 8  # pixels whose products all taps sum before the next: those of a few hundred channels stay in L1
TASK_ROWS = 4  # rows of pixels that one task computes: the rows of the image that they share stay in the L2 cache


@inlined
def _interior(axis, out):
    """The pixels from the first to the last + 1 of an axis all of whose taps lie inside."""
    size, kernel, stride, dilation, before = axis[0], axis[1], axis[2], axis[3], axis[4]
    begin, _ = valid_range(-before, stride, size, out)
    _, end = valid_range((kernel - 1) * dilation - before, stride, size, out)
    return begin, max(begin, end)


@helper
def _list_runs(x_terms, w_terms, C, top, kx0, kx1, rows, columns):
    """List the taps of a pixel side by side: of three, and then of two; the numbers of both kinds of runs in all."""
    H, W, KH, KW, dy = rows[0], columns[0], rows[1], columns[1], rows[3]
    ky0, ky1 = valid_range(top, dy, H, KH)
    threes = (kx1 - kx0) // 3 - ((kx1 - kx0) % 3 == 1)
    count = 0
    for begin, end, taps in ((kx0, kx0 + 3 * threes, 3), (kx0 + 3 * threes, kx1, 2)):
        for ky in range(ky0, ky1):
            for kx in range(begin, end, taps):
                x_terms[count] = ((ky - ky0) * dy * W + kx - kx0) * C
                w_terms[count] = (ky * KW + kx) * C
                count += 1
    return threes * (ky1 - ky0), count


@helper
def _list_taps(x_terms, w_terms, C, top, kx0, kx1, rows, columns):
    """List the taps of a pixel one by one; their number."""
    H, W, KH, KW, dy, dx = rows[0], columns[0], rows[1], columns[1], rows[3], columns[3]
    ky0, ky1 = valid_range(top, dy, H, KH)
    count = 0
    for ky in range(ky0, ky1):
        for kx in range(kx0, kx1):
            x_terms[count] = ((ky - ky0) * dy * W + (kx - kx0) * dx) * C
            w_terms[count] = (ky * KW + kx) * C
            count += 1
    return count


@inlined
def _pixels(y, y0, x, x0, weight, epilogue, top, first, last, rows, columns):
    """The pixels first <= ox < last of a row, which have the same taps: those from the row `top` on that are inside.

    From y0 and x0 on. The image x and the weights are panels whose offsets are overwritten: of their taps.
    """
    W, KW, sx, dx, left, C = columns[0], columns[1], columns[2], columns[3], columns[4], y.row
    ky0, ky1 = valid_range(top, rows[3], rows[0], rows[1])
    kx0, kx1 = valid_range(first * sx - left, dx, W, KW)
    target, zero = y0 + first * C, np.int64(0)
    source = x0 + ((top + ky0 * rows[3]) * W + first * sx - left + kx0 * dx) * C if ky1 > ky0 and kx1 > kx0 else zero
    # the sums of more than CHAIN terms are added to each other
    if ENABLED and sx == dx == 1 and kx1 - kx0 > 1 and weight.rows.size <= CHAIN:
        threes, runs = _list_runs(x.rows, weight.rows, C, top, kx0, kx1, rows, columns)
        convolve_pixels(y, target, x, source, weight, zero, epilogue, threes, runs, last - first, C)
    else:
        count = _list_taps(x.rows, weight.rows, C, top, kx0, kx1, rows, columns)
        add_products(y, target, x, source, weight, zero, epilogue, count, last - first, C)


@kernel
def depthwise(team, x, rows, columns, weight, bias, floor, y):
    """y[n, oy, ox, c] = bias[c] + sum over the taps t inside the image of weight[t, c] * x[n, .., .., c].

    Results up to `floor` are stored as `floor`. Axes as in `axes.Axis`.

    Precondition: x (N, H, W, C), weight (taps, C), bias (C,), y (N, OH, OW, C). Parallel over blocks of rows of y, each
    of which is its own.
    """
    N, OH, OW, C = y.shape
    H, W = x.shape[1:3]
    flat_x, flat_w, flat_y = x.reshape(-1), weight.reshape(-1), y.reshape(-1)
    blocks = ceil_div(OH, TASK_ROWS)
    begin, end = _interior(columns, OW)
    zero = np.int64(0)
    for task in prange(team, N * blocks):
        n, block = divmod(task, blocks)
        x_terms, w_terms = np.empty(len(weight), np.uint64), np.empty(len(weight), np.uint64)
        y_pixels, x_pixels = Region(flat_y, C, zero), Panel(flat_x, x_terms, columns[2] * C)
        taps, epilogue = Panel(flat_w, w_terms, C), Epilogue(bias, np.bool_(True), floor)
        for oy in range(block * TASK_ROWS, min((block + 1) * TASK_ROWS, OH)):
            top = oy * rows[2] - rows[4]
            ox = 0
            while ox < OW:
                last = end if ox == begin and end > begin else ox + 1
                _pixels(
                    y_pixels, (n * OH + oy) * OW * C, x_pixels, n * H * W * C, taps, epilogue, top, ox, last, rows,
                    columns,
                )  # fmt: skip
                ox = last


@helper
def _segments(columns, OW):
    """The pixels of a row in segments of the same taps: where each begins and the last one ends; their taps."""
    bounds, taps, count = np.empty(OW + 1, np.int64), np.empty((OW, 2), np.int64), 0
    for ox in range(OW):
        kx0, kx1 = valid_range(ox * columns[2] - columns[4], columns[3], columns[0], columns[1])
        if count == 0 or taps[count - 1, 0] != kx0 or taps[count - 1, 1] != kx1:
            bounds[count], taps[count, 0], taps[count, 1] = ox, kx0, kx1
            count += 1
    bounds[count] = OW
    return bounds[: count + 1], taps[:count]


@kernel
def depthwise_weight_gradient(team, g, x, rows, columns, parts):
    """parts[s, t, c] = sum over the pixels of shard s that the tap t reaches of g[n, oy, ox, c] * x[n, .., .., c].

    A shard is a run of rows of pixels, through the batch; axes are as for `depthwise`.

    Precondition: g (N, OH, OW, C), x (N, H, W, C), parts (shards, taps, C). Parallel over shards, each of which owns
    its part.
    """
    N, OH, OW, C = g.shape
    H, W = x.shape[1:3]
    shards, T = parts.shape[:2]
    flat_x, flat_g, flat = x.reshape(-1), g.reshape(-1), parts.reshape(-1)
    KH, KW, zero = rows[1], columns[1], np.int64(0)
    bounds, taps = _segments(columns, OW)
    segments = len(taps)
    # the taps of each segment, row by row of the kernel: their cells of x and of the sums
    x_terms, places = np.empty(segments * T, np.uint64), np.empty(segments * T, np.uint64)
    for segment in range(segments):
        count = segment * T
        for ky in range(KH):
            for kx in range(taps[segment, 0], taps[segment, 1]):
                x_terms[count] = (ky * rows[3] * W + kx * columns[3]) * C
                places[count] = (ky * KW + kx) * C
                count += 1
    x_pixels, g_pixels = Panel(flat_x, x_terms, columns[2] * C), Region(flat_g, zero, C)
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
            ky0, ky1 = valid_range(top, rows[3], H, KH)
            for segment in range(segments):
                across = taps[segment, 1] - taps[segment, 0]
                low, high = segment * T + ky0 * across, segment * T + ky1 * across
                for ox in range(bounds[segment], bounds[segment + 1], GRADIENT_PIXELS):
                    add_to_taps(
                        own, zero, places, x_pixels, ((n * H + top) * W + ox * columns[2] - columns[4]) * C, g_pixels,
                        (row * OW + ox) * C, low, high, min(GRADIENT_PIXELS, bounds[segment + 1] - ox), C,
                    )  # fmt: skip
        if aside.size > 0:
            set_aside(own, aside)
