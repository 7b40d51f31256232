"""Matrix products: linear layers and their gradients, and the product after im2col.

BLAS is not called on purpose: its threads and Numba's spin against each other (measured: 0.4 ms become 8 ms).
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.partition import even_part, even_parts
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import PRODUCTS_OF_AN_ELEMENT, helper, kernel, kernel_of
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import aligned, chain_of
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.copy import copy_rows, transpose
from fastconv.kernels.micro.dot import add_dots, lane_sum
from fastconv.kernels.micro.gemm import add_rows, add_to_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import DOT_ROWS, LANES, TILE_VECTORS, VECTOR_BYTES

ROW_BLOCK = 16  # rows of the result that one task computes, at least
COLUMN_BLOCK = 192  # columns of the result that one task computes
PACKED_ROWS, PACKED_BYTES = 32, 2**18  # rows of the result, and bytes of the other factor, that repay its copy
PACKED_ELEMENTS = 2**16  # of such a copy at most, or of the narrowest one
PANEL_ROWS = 256  # rows of the result that use a panel as long as it is in the cache
PANEL_TERMS = 4096  # terms of a panel, which stays in the L2 cache


@helper
def _multiply(team, a, a_row, a_column, b, sizes, bias, fresh, c):
    """As `matmul` of arrays that are all flat, of these sizes (B, M, K, N)."""
    B, M, K, N = sizes
    lanes, zero, one, lowest = VECTOR_BYTES // c.itemsize, np.int64(0), np.int64(1), c.dtype.type(-np.inf)
    # rows of b lie far apart, often by a multiple of 4096 bytes, and then few of them fit a cache
    packs = M >= PACKED_ROWS and K * N * b.itemsize >= PACKED_BYTES
    most = max(min(COLUMN_BLOCK, PACKED_ELEMENTS // max(K, 1)), TILE_VECTORS * lanes) if packs else COLUMN_BLOCK
    width = ceil_div(N, ceil_div(N, most) * lanes) * lanes
    steps = ceil_div(N, width)
    blocks = even_parts(B * steps, ceil_div(M, PANEL_ROWS if packs else ROW_BLOCK), M // ROW_BLOCK, team[1])
    rows, columns, offsets = row_offsets(M, a_row), row_offsets(K, a_column), row_offsets(K, N)
    panel, in_panel = aligned(K * width if packs else 0, c.dtype), row_offsets(K, width)
    for task in prange(team, B * blocks * steps):
        rest, s = divmod(task, steps)
        i, block = divmod(rest, blocks)
        row, end, column = block * M // blocks, (block + 1) * M // blocks, s * width
        n = min(width, N - column)
        source, places, start = b, offsets, i * K * N + column
        if packs:
            copy_rows(K, panel, zero, width, b, start, N, one, zero, n, n)
            source, places, start = panel, in_panel, zero
        add_rows(
            Region(c, N, zero), (i * M + row) * N + column, Matrix(a, rows[row:end], columns), zero,
            Panel(source, places, zero), start, Epilogue(bias[row:end], fresh, lowest), one, n,
        )  # fmt: skip


@kernel_of(lambda a, a_row, a_column, b, *others: a.size * b.shape[2] // PRODUCTS_OF_AN_ELEMENT)
def matmul(team, a, a_row, a_column, b, bias, fresh, c):
    """c[i] = bias[row] + a @ b[i], or the product added to what c[i] holds unless `fresh`.

    The element [row, k] of a is a[row * a_row + k * a_column].

    Precondition: a flat, b (B, K, N), c (B, M, N). Parallel over (i, block of rows, block of columns), each of which
    owns its part of c.
    """
    B, K, N = b.shape
    _multiply(team, a, a_row, a_column, b.reshape(-1), (B, c.shape[1], K, N), bias, fresh, c.reshape(-1))


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


@kernel
def linear_gradients(team, g, start, x, weight, grad_x, grad_weight, grad_bias):
    """The gradients of y = x @ weight.T + bias from g, that of y; those that have elements.

    Or some rows of grad_x or of grad_weight: g counts from its element `start` on, which is the first one's.

    Precondition: g (N, OUT), x (N, IN), weight (OUT, IN), grad_x of IN columns, grad_weight likewise, grad_bias (OUT,).
    Parallel as `matmul`, and over blocks of grad_bias, which is summed row after row in float64.
    """
    (N, OUT), IN = g.shape, x.shape[1]
    flat, one = g.reshape(-1)[start:], np.int64(1)
    rows, columns = len(grad_x), len(grad_weight)
    zeros = np.zeros(max(rows, columns), g.dtype)
    if rows > 0:
        sizes = one, rows, OUT, IN
        _multiply(team, flat, OUT, one, weight.reshape(-1), sizes, zeros, np.bool_(True), grad_x.reshape(-1))
    if columns > 0:
        sizes = one, columns, N, IN
        _multiply(team, flat, one, OUT, x.reshape(-1), sizes, zeros, np.bool_(True), grad_weight.reshape(-1))
    for block in prange(team, ceil_div(grad_bias.size, COLUMN_BLOCK)):
        first = block * COLUMN_BLOCK
        sums = np.zeros(min(COLUMN_BLOCK, grad_bias.size - first), np.float64)
        for n in range(N):
            for i in range(sums.size):
                sums[i] += g[n, first + i]
        for i in range(sums.size):
            grad_bias[first + i] = sums[i]
