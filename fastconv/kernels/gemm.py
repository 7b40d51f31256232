"""Matrix products: linear layers and their gradients, and the product after im2col.

BLAS is not called on purpose: its threads and Numba's spin against each other (measured: 0.4 ms become 8 ms).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import kernel
from fastconv.kernels.simd import add_dots, add_row, add_rows, lane_sum, row_offsets
from fastconv.kernels.tiles import LANES

ROW_BLOCK = 16  # rows of the result that one task computes
COLUMN_BLOCK = 512  # columns: two rows of them and four of b fit in the L1 cache


@kernel
def matmul(a, b, c):
    """c[i] += a @ b[i].

    Precondition: a (M, K), b (B, K, N), c (B, M, N) holding what is added to. Parallel over (i, block of rows, block
    of columns), each of which owns its part of c.
    """
    M, K = a.shape
    B, _, N = b.shape
    blocks, steps = -(-M // ROW_BLOCK), -(-N // COLUMN_BLOCK)
    offsets = row_offsets(K, N)
    flat_a, flat_b, flat_c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    for task in prange(B * blocks * steps):
        rest, s = divmod(np.int64(task), steps)
        i, block = divmod(rest, blocks)
        n0 = s * COLUMN_BLOCK
        m = np.uint64(min(COLUMN_BLOCK, N - n0))
        source = np.uint64(i * K * N + n0)
        for row in range(block * ROW_BLOCK, min((block + 1) * ROW_BLOCK, M), 2):
            c0 = np.uint64((i * M + row) * N + n0)
            if row + 1 < M:
                c1 = c0 + np.uint64(N)
                add_rows(flat_c, c0, c1, flat_a, row * K, (row + 1) * K, flat_b, source, offsets, m)
            else:
                add_row(flat_c, c0, flat_a, row * K, flat_b, source, offsets, m)


@kernel
def matmul_transposed(a, b, bias, c):
    """c[m, n] = bias[n] + sum over k of a[m, k] * b[n, k].

    Precondition: a (M, K), b (N, K), bias (N,), c (M, N). Parallel over (pair of rows, block of columns), each of
    which owns its part of c.
    """
    M, K = a.shape
    N = b.shape[0]
    steps = -(-N // ROW_BLOCK)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for task in prange(-(-M // 2) * steps):
        couple, s = divmod(np.int64(task), steps)
        row, partner = 2 * couple, min(2 * couple + 1, M - 1)
        sums = np.empty((2, 4, LANES), c.dtype)
        for n in range(s * ROW_BLOCK, min((s + 1) * ROW_BLOCK, N), 4):
            sums[:] = 0
            add_dots(
                sums, 0, flat_a, np.uint64(row * K), np.uint64(partner * K),
                flat_b, np.uint64(n * K), np.uint64(min(n + 1, N - 1) * K), np.uint64(min(n + 2, N - 1) * K),
                np.uint64(min(n + 3, N - 1) * K), np.uint64(K),
            )  # fmt: skip
            for j in range(min(4, N - n)):
                c[row, n + j] = bias[n + j] + lane_sum(sums, 0, j)
                c[partner, n + j] = bias[n + j] + lane_sum(sums, partner - row, j)
