"""Matrix products: linear layers and their gradients, and the product after im2col.

BLAS is not called on purpose: its threads and Numba's spin against each other (measured: 0.4 ms become 8 ms).
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.partition import even_part, even_parts
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import PRODUCTS_OF_AN_ELEMENT, kernel_of, linked
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import aligned, chain_of
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.copy import copy_rows, transpose
from fastconv.kernels.micro.dot import add_dots, lane_sum
from fastconv.kernels.micro.gemm import add_rows, add_to_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import DOT_ROWS, LANES, TILE_VECTORS, VECTOR_BYTES

ROW_BLOCK = 16  # rows of the result that one task computes
COLUMN_BLOCK = 192  # columns of the result that one task computes
REUSES = 32  # as many rows of the result repay the copy of a panel
PANEL_ELEMENTS = 2**16  # of such a copy at most, or of the narrowest one
PANEL_ROWS = 256  # rows of the result that use a panel as long as it is in the cache
PANEL_TERMS = 4096  # terms of a panel, which stays in the L2 cache


@kernel_of(lambda a, a_row, a_column, b, *others: a.size * b.shape[2] // PRODUCTS_OF_AN_ELEMENT)
def matmul(team, a, a_row, a_column, b, bias, fresh, c):
    """c[i] = bias[row] + a @ b[i], or the product added to what c[i] holds unless `fresh`.

    The element [row, k] of a is a[row * a_row + k * a_column].

    Precondition: a flat, b (B, K, N), c (B, M, N). Parallel over (i, block of rows, block of columns), each of which
    owns its part of c.
    """
    B, K, N = b.shape
    M = c.shape[1]
    lanes, vectors, packed = VECTOR_BYTES // c.itemsize, ceil_div(N * c.itemsize, VECTOR_BYTES), M >= REUSES
    height = PANEL_ROWS if packed else ROW_BLOCK
    most = max(min(COLUMN_BLOCK, PANEL_ELEMENTS // max(K, 1)) // lanes, TILE_VECTORS)
    blocks, steps = ceil_div(M, height), ceil_div(vectors, most)
    width = ceil_div(vectors, ceil_div(steps, team[1]) * team[1]) * lanes
    steps = ceil_div(N, width)
    rows, columns, offsets = row_offsets(M, a_row), row_offsets(K, a_column), row_offsets(K, width if packed else N)
    flat_b, flat_c, lowest = b.reshape(-1), c.reshape(-1), c.dtype.type(-np.inf)
    zero, one, panel = np.int64(0), np.int64(1), aligned(K * width if packed else 0, c.dtype)
    for task in prange(team, B * blocks * steps):
        rest, block = divmod(task, blocks)
        i, s = divmod(rest, steps)
        row, column, n = block * height, s * width, min(width, N - s * width)
        end, source = min(row + height, M), i * K * N + column
        if packed:
            copy_rows(K, panel, zero, width, flat_b, source, N, one, zero, n, n)
        add_rows(
            Region(flat_c, N, zero), (i * M + row) * N + column, Matrix(a, rows[row:end], columns), zero,
            Panel(panel if packed else flat_b, offsets, zero), zero if packed else source,
            Epilogue(bias[row:end], fresh, lowest), one, n,
        )  # fmt: skip


@kernel_of(lambda a, b, *others: a.size * len(b) // PRODUCTS_OF_AN_ELEMENT)
def matmul_transposed(team, a, b, bias, floor, c):
    """c[m, n] = bias[n] + sum over k of a[m, k] * b[n, k]; results up to `floor` are stored as `floor`.

    As dot products of rows where they lie: for few rows, which would not repay the transposition of b.

    Precondition: a (M, K), b (N, K), bias (N,), c (M, N). Parallel over (block of rows, block of columns), each of
    which owns its part of c.
    """
    M, K = a.shape
    N = b.shape[0]
    tiles, steps = ceil_div(M, DOT_ROWS), ceil_div(N, ROW_BLOCK)
    flat_a, flat_b, offsets = a.reshape(-1), b.reshape(-1), row_offsets(N, K)
    zero, one = np.int64(0), np.int64(1)
    left, right = Region(flat_a, K, zero), Panel(flat_b, offsets, zero)
    for task in prange(team, tiles * steps):
        tile, s = divmod(task, steps)
        row, rows = tile * DOT_ROWS, min(DOT_ROWS, M - tile * DOT_ROWS)
        sums = np.empty((DOT_ROWS, 4, LANES), c.dtype)
        for n in range(s * ROW_BLOCK, min((s + 1) * ROW_BLOCK, N), 4):
            sums[:] = 0
            add_dots(sums, rows, left, row * K, right, zero, n, one, K)
            for i in range(rows):
                for j in range(min(4, N - n)):
                    total = bias[n + j] + lane_sum(sums, i, j)
                    c[row + i, n + j] = floor if total <= floor else total


@kernel_of(lambda a, b, *others: a.size * len(b) // PRODUCTS_OF_AN_ELEMENT)
def matmul_by_panels(team, a, b, bias, floor, c):
    """As `matmul_transposed`, with panels of b transposed, so that a vector holds columns and nothing is summed across.

    Precondition: as for `matmul_transposed`. Parallel over (block of columns, block of rows), each of which owns its
    part of c.
    """
    M, K = a.shape
    N = b.shape[0]
    lanes, bands, terms = VECTOR_BYTES // c.itemsize, ceil_div(M, PANEL_ROWS), even_part(K, PANEL_TERMS)
    vectors = ceil_div(N, lanes)
    width = ceil_div(vectors, even_parts(bands, ceil_div(vectors, TILE_VECTORS), vectors, team[1])) * lanes
    blocks = ceil_div(N, width)
    flat_a, flat_b, flat_c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    a_rows, c_rows = row_offsets(M, K), row_offsets(M, N)
    columns, offsets = row_offsets(terms, 1), row_offsets(terms, width)
    zero, panel = np.int64(0), aligned(terms * width, c.dtype)
    for task in prange(team, blocks * bands):
        block, band = divmod(task, bands)
        first, row, end = block * width, band * PANEL_ROWS, min((band + 1) * PANEL_ROWS, M)
        n = min(width, N - first)
        for k in range(0, K, terms):
            m = min(terms, K - k)
            start = Epilogue(bias[first : first + n], k == 0, floor if k + m == K else c.dtype.type(-np.inf))
            transpose(panel, zero, flat_b, first * K + k, n, m, width, K)
            add_to_rows(
                Panel(flat_c, c_rows[row:end], zero), first, Matrix(flat_a, a_rows[row:end], columns[:m]), k,
                Panel(panel, offsets[:m], zero), zero, start, chain_of(m), n,
            )  # fmt: skip


@linked
def column_sums(a, sums) -> None:
    """sums[n] = the sum over m of a[m, n] in float64, row after row: for jitted code, as NumPy has it in Python."""
    M, N = a.shape
    totals = np.zeros(N)
    for m in range(M):
        for n in range(N):
            totals[n] += a[m, n]
    for n in range(N):
        sums[n] = totals[n]
