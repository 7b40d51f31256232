"""Matrix products: linear layers and their gradients, and the product after im2col.

BLAS is not called on purpose: its threads and Numba's spin against each other (measured: 0.4 ms become 8 ms).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._runtime.jit import kernel
from fastconv.kernels.micro.drivers import DOT_ROWS, add_dots, add_rows, lane_sum, row_offsets
from fastconv.kernels.micro.gemm import LANES

ROW_BLOCK = 16  # rows of the result that one task computes
COLUMN_BLOCK = 192  # columns of the result that one task computes


@kernel
def matmul(a, a_row, a_column, b, bias, fresh, c):
    """c[i] = bias[row] + a @ b[i], or the product added to what c[i] holds unless `fresh`.

    The element [row, k] of a is a[row * a_row + k * a_column].

    Precondition: a flat, b (B, K, N), c (B, M, N). Parallel over (i, block of rows, block of columns), each of which
    owns its part of c.
    """
    B, K, N = b.shape
    M = c.shape[1]
    blocks, steps = -(-M // ROW_BLOCK), -(-N // COLUMN_BLOCK)
    rows, columns, offsets = row_offsets(M, a_row), row_offsets(K, a_column), row_offsets(K, N)
    flat_b, flat_c, lowest = b.reshape(-1), c.reshape(-1), c.dtype.type(-np.inf)
    zero, one = np.int64(0), np.int64(1)
    for task in prange(B * blocks * steps):
        rest, s = divmod(np.int64(task), steps)
        i, block = divmod(rest, blocks)
        row, column = block * ROW_BLOCK, s * COLUMN_BLOCK
        add_rows(
            flat_c, (i * M + row) * N + column, N, zero, min(ROW_BLOCK, M - row), bias, row, fresh, lowest, a, zero,
            rows, columns, flat_b, i * K * N + column, zero, offsets, one, min(COLUMN_BLOCK, N - column),
        )  # fmt: skip


@kernel
def matmul_transposed(a, b, bias, floor, c):
    """c[m, n] = bias[n] + sum over k of a[m, k] * b[n, k]; results up to `floor` are stored as `floor`.

    Precondition: a (M, K), b (N, K), bias (N,), c (M, N). Parallel over (block of rows, block of columns), each of
    which owns its part of c.
    """
    M, K = a.shape
    N = b.shape[0]
    tiles, steps = -(-M // DOT_ROWS), -(-N // ROW_BLOCK)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    zero, one = np.int64(0), np.int64(1)
    for task in prange(tiles * steps):
        tile, s = divmod(np.int64(task), steps)
        row, rows = tile * DOT_ROWS, min(DOT_ROWS, M - tile * DOT_ROWS)
        sums = np.empty((DOT_ROWS, 4, LANES), c.dtype)
        for n in range(s * ROW_BLOCK, min((s + 1) * ROW_BLOCK, N), 4):
            sums[:] = 0
            b0, b1, b2, b3 = n * K, min(n + 1, N - 1) * K, min(n + 2, N - 1) * K, min(n + 3, N - 1) * K
            add_dots(sums, rows, flat_a, row * K, K, zero, flat_b, b0, b1, b2, b3, zero, one, K)
            for i in range(rows):
                for j in range(min(4, N - n)):
                    total = bias[n + j] + lane_sum(sums, i, j)
                    c[row + i, n + j] = floor if total <= floor else total
