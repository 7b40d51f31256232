"""The loops around the vector tiles of argmax-sparse gradients, or plain loops where there are no tiles."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import inlined
from fastconv.kernels.micro.argmax import (
    add_block_tile,
    gather_tile,
    patch_dots_tile,
    pattern_sums_tile,
    scatter_tile,
    window_dots_tile,
)
from fastconv.kernels.micro.vectors import LANES, MANY_REGISTERS, VECTOR_BYTES


@inlined
def gather(d, d0, d_row, s, s0, table, first, rows):
    """d[d0 + j*d_row + i] = s[s0 + table[first + i] + j] for i < rows and j < LANES."""
    if ENABLED:
        lanes = VECTOR_BYTES // d.itemsize
        for i in range(0, rows, lanes):
            for j in range(0, LANES, lanes):
                gather_tile(d, d0 + j * d_row + i, d_row, s, s0 + j, table, first + i, min(lanes, rows - i), lanes)
        return
    for i in range(rows):
        source = s0 + np.int64(table[first + i])
        for j in range(LANES):
            d[d0 + j * d_row + i] = s[source + j]


@inlined
def scatter(d, d0, table, first, s, s0, s_row, columns):
    """d[d0 + table[first + j] + i] = s[s0 + i*s_row + j] for i < LANES and j < columns."""
    if ENABLED:
        lanes = VECTOR_BYTES // d.itemsize
        for j in range(0, columns, lanes):
            for i in range(0, LANES, lanes):
                scatter_tile(d, d0 + i, table, first + j, s, s0 + i * s_row + j, s_row, lanes, min(lanes, columns - j))
        return
    for j in range(columns):
        target = d0 + np.int64(table[first + j])
        for i in range(LANES):
            d[target + i] = s[s0 + i * s_row + j]


@inlined
def add_patches(a, to, p, patches, argmax, images, maxima, first, x, table, count):
    """Add part p of the patches of `count` maxima, each times its gradient, to the sums from a[to] on.

    The gradients of the maxima and their numbers lie where `images` tells, `maxima` + `first` elements on; `first` of
    them come before in this plane of windows; the image begins at a[x].
    """
    g, n = images.maxima * LANES + maxima + first, images.argmax * LANES + maxima + first
    corners, vectors = images.corners + first, patches.vectors + p * patches.width
    if ENABLED:
        patch_dots_tile(
            a, to, patches.width, a, g, argmax, n, a, x, table, corners, patches.windows, vectors, count
        )  # fmt: skip
        return
    lanes = VECTOR_BYTES // a.itemsize
    for e in range(count):
        place = x + np.int64(table[corners + e]) + np.int64(table[patches.windows + np.int64(argmax[n + e])])
        for v in range(patches.width):
            for lane in range(lanes):
                a[to + v * lanes + lane] += a[g + e] * a[place + np.int64(table[vectors + v]) + lane]


@inlined
def add_windows(side, t, t0, g, g0, argmax, n0, x, x0, x_row, width):
    """`window_dots_tile` for all LANES, side one of WINDOW_SIDES."""
    if ENABLED:
        for i in range(0, LANES, VECTOR_BYTES // t.itemsize):
            if side == 3:
                window_dots_tile(3, t, t0 + i, g, g0 + i, argmax, n0 + i, x, x0 + i, x_row, width)
            elif MANY_REGISTERS and side == 5:
                window_dots_tile(5, t, t0 + i, g, g0 + i, argmax, n0 + i, x, x0 + i, x_row, width)
        return
    for px in range(width):
        for i in range(LANES):
            p, j = px * LANES + i, np.int64(argmax[n0 + px * LANES + i])
            corner = x0 + j // 2 * x_row + (2 * px + j % 2) * LANES + i
            for k in range(side * side):
                t[t0 + k * LANES + i] += g[g0 + p] * x[corner + k // side * x_row + k % side * LANES]


@inlined
def sum_patterns(a, to, p, regions, argmax, images, maximum, step, patterns, first, OC, count):
    """The sum of part p of the shifted weights of `count` channels, each times the gradient of its maximum: a[to ..].

    The channels are those from `first` on, of OC; the first one's maximum lies where `images` tells, `maximum` elements
    on, and each other one's `step` elements further.
    """
    n = regions.width * (VECTOR_BYTES // a.itemsize)
    g, n0, length = images.maxima * LANES + maximum, images.argmax * LANES + maximum, regions.parts * n
    pattern = regions.patterns * LANES + first * length + p * n
    if ENABLED:
        pattern_sums_tile(
            a, to, regions.width, a, g, argmax, n0, step, patterns, pattern, OC * length, length, count
        )  # fmt: skip
        return
    a[to : to + n] = 0
    for i in range(count):
        place = pattern + np.int64(argmax[n0 + i * step]) * OC * length + i * length
        for q in range(n):
            a[to + q] += a[g + i * step] * patterns[place + q]


@inlined
def add_block(d, d0, d_row, s, s0, s_row, rows, n):
    """`add_block_tile`."""
    if ENABLED:
        add_block_tile(d, d0, d_row, s, s0, s_row, rows, n)
        return
    for r in range(rows):
        for q in range(n):
            d[d0 + r * d_row + q] += s[s0 + r * s_row + q]
