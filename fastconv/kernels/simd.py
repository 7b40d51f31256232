"""The two inner products that convolution and matrix products are made of.

Each is a vector tile (`tiles.py`), and the same sums as plain loops for where there is no JIT or bounds are checked.
Indices are unsigned on purpose: for a signed index Numba tests for wrap-around at every access, which keeps LLVM from
vectorising (measured: 12 against 90 GFLOP/s on one AVX-512 core).
"""

from __future__ import annotations

import numpy as np

from fastconv._jit import helper
from fastconv.kernels import tiles
from fastconv.kernels.tiles import dots_tile, rows_tile


@helper
def add_rows(c, c0, c1, a, a0, a1, b, b0, offsets, n):
    """c[c0 + q] += sum over k of a[a0 + k] * b[b0 + offsets[k] + q], and the same for c1 with a1; q < n.

    Without the tile two rows and four terms are taken at a time: six vector loads and two stores for eight
    multiply-adds.

    Precondition: flat arrays; c0, c1, b0, n and offsets are uint64; the rows c0 and c1 do not overlap.
    """
    if tiles.ENABLED:
        rows_tile(c, (c0, c1), a, (np.uint64(a0), np.uint64(a1)), b, b0, offsets, n)
        return
    four = offsets.size // 4 * 4
    for k in range(0, four, 4):
        o0, o1, o2, o3 = b0 + offsets[k], b0 + offsets[k + 1], b0 + offsets[k + 2], b0 + offsets[k + 3]
        u0, u1, u2, u3 = a[a0 + k], a[a0 + k + 1], a[a0 + k + 2], a[a0 + k + 3]
        v0, v1, v2, v3 = a[a1 + k], a[a1 + k + 1], a[a1 + k + 2], a[a1 + k + 3]
        for q in range(n):
            b_0, b_1, b_2, b_3 = b[o0 + q], b[o1 + q], b[o2 + q], b[o3 + q]
            c[c0 + q] += u0 * b_0 + u1 * b_1 + u2 * b_2 + u3 * b_3
            c[c1 + q] += v0 * b_0 + v1 * b_1 + v2 * b_2 + v3 * b_3
    for k in range(four, offsets.size):
        o0, u0, v0 = b0 + offsets[k], a[a0 + k], a[a1 + k]
        for q in range(n):
            c[c0 + q] += u0 * b[o0 + q]
            c[c1 + q] += v0 * b[o0 + q]


@helper
def add_row(c, c0, a, a0, b, b0, offsets, n):
    """c[c0 + q] += sum over k of a[a0 + k] * b[b0 + offsets[k] + q] for q < n: `add_rows` for a row alone."""
    if tiles.ENABLED:
        rows_tile(c, (c0,), a, (np.uint64(a0),), b, b0, offsets, n)
        return
    four = offsets.size // 4 * 4
    for k in range(0, four, 4):
        o0, o1, o2, o3 = b0 + offsets[k], b0 + offsets[k + 1], b0 + offsets[k + 2], b0 + offsets[k + 3]
        u0, u1, u2, u3 = a[a0 + k], a[a0 + k + 1], a[a0 + k + 2], a[a0 + k + 3]
        for q in range(n):
            c[c0 + q] += u0 * b[o0 + q] + u1 * b[o1 + q] + u2 * b[o2 + q] + u3 * b[o3 + q]
    for k in range(four, offsets.size):
        o0, u0 = b0 + offsets[k], a[a0 + k]
        for q in range(n):
            c[c0 + q] += u0 * b[o0 + q]


@helper
def add_dots(t, t0, a, a0, a1, b, b0, b1, b2, b3, n):
    """t[t0 + i, j, :] += sum over q < n of a[a_i + q] * b[b_j + q], for two rows of a and four of b.

    The lanes of t are partial sums that the caller adds up once, at the end.

    Six vector loads for eight multiply-adds, and nothing is stored until the end. Rows may be given twice: their sums
    are then equal, and the caller takes one.

    Precondition: a and b flat, t (rows, 4, LANES); a0 ... b3 and n are uint64.
    """
    if tiles.ENABLED:
        dots_tile(t, np.uint64(t0), a, (a0, a1), b, (b0, b1, b2, b3), n)
        return
    zero = t.dtype.type(0)
    s0 = s1 = s2 = s3 = r0 = r1 = r2 = r3 = zero
    for q in range(n):
        u, v = a[a0 + q], a[a1 + q]
        b_0, b_1, b_2, b_3 = b[b0 + q], b[b1 + q], b[b2 + q], b[b3 + q]
        s0 += u * b_0
        s1 += u * b_1
        s2 += u * b_2
        s3 += u * b_3
        r0 += v * b_0
        r1 += v * b_1
        r2 += v * b_2
        r3 += v * b_3
    t[t0, 0, 0] += s0
    t[t0, 1, 0] += s1
    t[t0, 2, 0] += s2
    t[t0, 3, 0] += s3
    t[t0 + 1, 0, 0] += r0
    t[t0 + 1, 1, 0] += r1
    t[t0 + 1, 2, 0] += r2
    t[t0 + 1, 3, 0] += r3


@helper
def lane_sum(t, i, j):
    """The sum of the lanes of t[i, j], in order."""
    total = t.dtype.type(0)
    for lane in range(t.shape[2]):
        total += t[i, j, lane]
    return total


@helper
def row_offsets(rows, length):
    """The offsets of `rows` rows of `length` cells each that lie one behind the other: (rows,) uint64."""
    offsets = np.empty(rows, np.uint64)
    for r in range(rows):
        offsets[r] = r * length
    return offsets
