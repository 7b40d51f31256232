"""Direct convolution on wide rows of padded planes (see `layout`).

It is a matrix product whose right-hand side is never built: y[oc, q] = sum over k of w[oc, k] * x[offsets[k] + q]. A
vector holds pixels. The gradient of the input is such a convolution too.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.layout import MOST_OVERLAPPED
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import elements, inlined, kernel, kernel_of
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.copy import copy_rows
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import LANES
from fastconv.kernels.packing import split_plane

ONE_CHANNEL = 4096  # cells of padded rows of one channel that are computed before their pixels are copied
PAGE = 1024  # bytes: rows of a multiple of it fill few of a cache's sets
EVEN_TASKS = 32  # from this number of tasks on it does not matter whether threads can share them evenly


@inlined
def _store(acc, start, row, rows, q0, m, WP, y, target, plane, OW):
    """Copy the pixels among the cells q0 ... q0 + m - 1 of wide rows, acc[start:], to planes y[target:]."""
    zero, one = np.int64(0), np.int64(1)
    if WP == OW:
        copy_rows(rows, y, target + q0, plane, acc, start, row, one, zero, m, m)
        return
    for oy in range(q0 // WP, (q0 + m - 1) // WP + 1):
        first = max(q0 - oy * WP, 0)
        pixels = max(min(q0 + m - oy * WP, OW) - first, 0)
        source = start + oy * WP - q0 + first
        copy_rows(rows, y, target + oy * OW + first, plane, acc, source, row, one, zero, pixels, pixels)


@inlined
def _convolve(y, y0, weight, planes, planes0, epilogue, images, cells, WP, OW, by_rows, scratch):
    """Compute the cells start ... end - 1 of the output channels that are weight's rows, into the planes of a region y.

    From y0 and planes0 on. Row of pixels by row of pixels, which are the runs of y and of the planes; or along the
    whole wide row, then of `images` images together, which are the runs. The sums go straight to y where each cell is a
    pixel and terms are few. Otherwise they are kept in a scratch array: a plane's size is often a multiple of 4096
    bytes, and then the same pixels of a few channels fill their cache sets.
    """
    zero, one, (start, end) = np.int64(0), np.int64(1), cells
    rows = weight.rows.size
    scattered = y.row * y.data.itemsize % PAGE != 0
    if (by_rows or WP == OW) and (scattered or planes.rows.size <= 2 * CHAIN):
        runs, run = (ceil_div(end - start, WP), OW) if by_rows else (images, end - start)
        add_rows(
            y, y0 + start // WP * OW + start % WP, weight, zero, planes, planes0 + start, epilogue, runs, run
        )  # fmt: skip
        return
    # whole rows of pixels; of one channel, whose sums are not short, all of a block are copied at once
    alone = rows == 1 and images == 1 and planes.rows.size > MOST_OVERLAPPED
    whole = by_rows or (alone and WP <= ONE_CHANNEL and start % WP == 0 and end % WP == OW)
    step = end - start if images > 1 else scratch
    if whole:
        step = max(1, (scratch if by_rows else ONE_CHANNEL) // WP) * WP
    acc = np.empty(rows * images * step, y.data.dtype)
    for q in range(start, end, step):
        m = min(step, end - q)
        runs, run = (ceil_div(m, WP), OW) if by_rows else (images, m)
        row = runs * run
        add_rows(Region(acc, row, run), zero, weight, zero, planes, planes0 + q, epilogue, runs, run)
        if by_rows:
            copy_rows(rows, y.data, y0 + q // WP * OW, y.row, acc, zero, row, one, zero, row, row)
        elif whole:
            copy_rows(ceil_div(m, WP), y.data, y0 + q // WP * OW, OW, acc, zero, WP, one, zero, OW, OW)
        else:
            for i in range(images):
                _store(acc, i * m, row, rows, q, m, WP, y.data, y0 + i * y.run, y.row, OW)


@inlined
def _steps(tasks, most, least):
    """Into how many steps each of `tasks` tasks is cut: `least`, or more where few tasks would share unevenly."""
    steps = max(least, 1)
    while tasks * steps < EVEN_TASKS and tasks * steps % 8 and steps < most:
        steps += 1
    return steps


def _work(*arguments):
    """Elements of `forward`: those that it writes, and its products."""
    offsets, y = arguments[6], arguments[-1]
    return elements(y.size, offsets.size)


@kernel_of(_work)
def forward(team, planes, WP, by_rows, weights, bias, lowest, offsets, groups, blocks, y):
    """y[n, oc, q] = bias[oc] + sum over k of weight[weight_rows[oc] + weight_terms[k]] * planes[n, offsets[k] + q].

    Where q counts along padded rows. Results are clamped to `lowest`.

    Precondition: planes (N, cells of an image), of that row pitch; weights (weight, flat; weight_rows (OC,) and
    weight_terms (K,), uint64); offsets (K,) uint64; bias (OC,); blocks (channels, pixels, together, workspace) of
    `Blocks`; y (N, OC, OH, OW). Parallel over (image, group, block of cells, block of output channels), each of which
    owns its part of y.
    """
    weight, weight_rows, weight_terms = weights
    image, floor = planes.shape[1], lowest
    most_channels, cells, together_cells, scratch = blocks
    planes = planes.reshape(-1)
    N, OC, OH, OW = y.shape
    P = OH * OW
    flat = y.reshape(-1)
    per_group = OC // groups
    Q = (OH - 1) * WP + OW
    together = max(1, min(N, together_cells // Q))  # small planes of several images use each weight more often
    parts, halves = ceil_div(N, together), ceil_div(per_group, most_channels // 2)
    # tasks for some threads, each of as many images (measured: 260 against 191 GFLOP/s for 4 and 4 in place of 5 and 3)
    while parts < N and parts * groups * halves < (8 if N % parts == 0 else 16):
        parts += 1
    together = ceil_div(N, parts)
    parts = ceil_div(N, together)
    bands = halves if together > 1 else ceil_div(per_group, most_channels)
    channels = ceil_div(per_group, bands)
    steps = _steps(parts * groups * bands, OH if by_rows else ceil_div(Q, LANES), ceil_div(Q, cells))
    if together > 1:
        steps = 1
    length = ceil_div(OH, steps) * WP if by_rows else ceil_div(Q, steps * LANES) * LANES
    steps = ceil_div(Q, length)  # rounded up, the steps may be fewer; empty ones would all be the last thread's
    for task in prange(team, parts * groups * steps * bands):
        # all channels of a block of cells before the next cells: its part of the planes stays in the L2 cache
        rest, block = divmod(task, bands)
        rest, s = divmod(rest, steps)
        part, group = divmod(rest, groups)
        n = part * together
        first = group * per_group + block * channels
        rows = min(channels, (group + 1) * per_group - first)
        # by rows there are no runs of several images, but images one after another
        for i in range(min(together, N - n) if by_rows else 1):
            _convolve(
                Region(flat, P, OW if by_rows else OC * P), ((n + i) * OC + first) * P,
                Matrix(weight, weight_rows[first : first + rows], weight_terms),
                Panel(planes, offsets, WP if by_rows else image), (n + i) * image + group * (image // groups),
                Epilogue(bias[first : first + rows], np.bool_(True), floor),
                1 if by_rows else min(together, N - n), (min(s * length, Q), min((s + 1) * length, Q)), WP, OW, by_rows,
                scratch,
            )  # fmt: skip


@kernel
def split_and_forward(team, x, top, layout, shifts, weights, bias, lowest, offsets, groups, blocks, y):
    """`split` and `forward`, one group of an image after another, so that its planes stay in the cache.

    Precondition: as for those two, x (N, C, H, W); layout (vertical, horizontal, HP, WP, by_rows) of `Layout`, blocks
    (channels, workspace, shares) of `Blocks`. Parallel over shares of the images' groups, each of which owns its
    part of y.
    """
    weight, weight_rows, weight_terms = weights
    (sy, sx, HP, WP, by_rows), floor = layout, lowest
    most_channels, scratch, most_shares = blocks
    N, C, H, W = x.shape
    OC, OH, OW = y.shape[1:]
    P = OH * OW
    flat, flat_x = y.reshape(-1), x.reshape(-1)
    channels, per_group, plane = C // groups, OC // groups, sy * shifts.size * HP * WP
    Q = (OH - 1) * WP + OW
    shares, zero, one = min(N * groups, most_shares), np.int64(0), np.int64(1)
    for share in prange(team, shares):
        planes, begin = np.empty(channels * plane, x.dtype), share * N * groups // shares
        for item in range(begin, (share + 1) * N * groups // shares):
            n, group = divmod(item, groups)
            source = (n * C + group * channels) * H * W
            for c in range(channels):
                split_plane(
                    flat_x, source + c * H * W, H, W, top, sy, shifts, sx, planes, c * plane, HP, WP, item == begin
                )  # fmt: skip
            for first in range(group * per_group, (group + 1) * per_group, most_channels):
                rows = min(most_channels, (group + 1) * per_group - first)
                _convolve(
                    Region(flat, P, OW), (n * OC + first) * P,
                    Matrix(weight, weight_rows[first : first + rows], weight_terms), Panel(planes, offsets, WP), zero,
                    Epilogue(bias[first : first + rows], np.bool_(True), floor), one, (zero, Q), WP, OW, by_rows,
                    scratch,
                )  # fmt: skip
