"""The two inner products that convolution and matrix products are made of.

Each is cut into vector tiles (`tiles.py`), or is the same sums as plain loops for where there is no JIT or bounds are
checked. Indices are unsigned on purpose: for a signed index Numba tests for wrap-around at every access, which keeps
LLVM from vectorising (measured: 12 against 90 GFLOP/s on one AVX-512 core).
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper, inlined
from fastconv.kernels.blocking import CHAIN, chain_of, term_part
from fastconv.kernels.micro.copy import copy_tile, transpose_tile
from fastconv.kernels.micro.gemm import (
    DOT_ROWS,
    ENABLED,
    LANES,
    MANY_REGISTERS,
    ONE_ROW,
    TILE_ROWS,
    TILE_VECTORS,
    TWO_ROWS,
    VECTOR_BYTES,
    dots_tile,
    rows_tile,
)
from fastconv.kernels.micro.pooling import max_cells, max_of_sums_tile, spread_cells

# Terms summed at once: the inputs of so many, a tile wide, stay in the L1 cache while all rows of weights use them.
# Terms are the outer loop, so that each weight comes from beyond the L2 cache once.
TERM_BLOCK = 144
# Terms whose blocks are summed one after another; the sums of more are set aside (see `shares.chain_of`).
MOST_TERMS = 2**18


@helper
def _width(rows, left):
    """The vectors of the next tile of `rows` rows, of those that are left."""
    if rows == 1:
        for width in ONE_ROW:
            if width <= left:
                return width
    if rows == 2:
        for width in TWO_ROWS:
            if width <= left:
                return width
    # shared between the tiles that are left: a narrow last one would starve the multipliers
    return -(-left // -(-left // TILE_VECTORS))


@inlined
def _tiles_of_rows(
    c, c0, c_row, rows, bias, i0, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n
):  # fmt: skip
    """One tile wide and `rows` high, from tiles of as many rows as the registers hold."""
    i = i0
    end = i0 + rows
    wide = n > TILE_VECTORS * (VECTOR_BYTES // c.itemsize)  # and of at least three rows: fewer take any width
    if MANY_REGISTERS:
        while end - i >= TILE_ROWS and not wide:
            rows_tile(
                TILE_ROWS, c, c0, c_row, bias, i, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n
            )
            i += TILE_ROWS
        # four and four are faster than six and two, whose weights come from the L2 cache for few sums
        while end - i >= 6 and (end - i) // 2 != 4:
            rows_tile(6, c, c0, c_row, bias, i, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n)
            i += 6
    while end - i >= 4:
        rows_tile(4, c, c0, c_row, bias, i, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n)
        i += 4
    if end - i == 3 and not wide:
        rows_tile(3, c, c0, c_row, bias, i, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n)
        i += 3
    if end - i >= 2:
        rows_tile(2, c, c0, c_row, bias, i, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n)
        i += 2
    if end - i == 1:
        rows_tile(1, c, c0, c_row, bias, i, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n)


@helper
def _add_region(c, c0, c_row, c_run, d, rows, runs, n, floor):
    """c[c0 + i*c_row + r*c_run + q] += d[i, r, q], which lie one behind the other; up to `floor` it is `floor`."""
    for i in range(rows):
        for r in range(runs):
            target, source = np.uint64(c0 + i * c_row + r * c_run), np.uint64((i * runs + r) * n)
            for q in range(np.uint64(n)):
                total = c[target + q] + d[source + q]
                c[target + q] = floor if total <= floor else total


@helper
def add_rows(
    c, c0, c_row, c_run, rows, bias, i0, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_run, b_terms, runs, n
):  # fmt: skip
    """c[c0 + i*c_row + r*c_run + q] += sum over k of a[a0 + a_rows[i0 + i] + a_terms[k]] * b[.. + b_terms[k] + q].

    For i < rows, r < runs and q < n, from b0 + r*b_run on. Where `fresh`, the sum starts from bias[i0 + i] and not from
    what c holds. Sums up to `floor` are stored as `floor`: 0 is ReLU, -inf changes nothing.

    Precondition: flat arrays of one float type; a_rows, a_terms and b_terms uint64; the numbers int64, not negative
    (and not literals, for each of which Numba would compile once more).
    """
    K = b_terms.size
    if ENABLED:
        lanes = VECTOR_BYTES // c.itemsize
        lowest = c.dtype.type(-np.inf)
        terms = term_part(min(K, MOST_TERMS), TERM_BLOCK)
        d, d0, d_row, d_run = c, c0, c_row, c_run
        for k in range(0, max(K, 1), MOST_TERMS):  # nearly always once
            end = min(k + MOST_TERMS, K)
            if k > 0:
                d, d0, d_row, d_run = np.zeros(rows * runs * n, c.dtype), np.int64(0), runs * n, n
            for k0 in range(k, max(end, 1), terms):
                first, last = fresh and k0 == 0, floor if k0 + terms >= K and k == 0 else lowest
                for r in range(runs):
                    q = 0
                    while q < n:
                        m = min(n - q, _width(rows, -(-(n - q) // lanes)) * lanes)
                        _tiles_of_rows(
                            d, d0 - i0 * d_row + r * d_run + q, d_row, rows, bias, i0, first, last, a, a0, a_rows,
                            a_terms, b, b0 + r * b_run + q, b_terms, k0, min(k0 + terms, end), terms, m,
                        )  # fmt: skip
                        q += m
            if k > 0:
                _add_region(c, c0, c_row, c_run, d, rows, runs, n, floor if end == K else lowest)
        return
    for i in range(rows):
        row = np.uint64(a0) + a_rows[i0 + i]
        for r in range(runs):
            target, source = np.uint64(c0 + i * c_row + r * c_run), np.uint64(b0 + r * b_run)
            for q in range(np.uint64(n)):
                total = bias[i0 + i] if fresh else c[target + q]
                for k in range(K):
                    total += a[row + a_terms[k]] * b[source + b_terms[k] + q]
                c[target + q] = floor if total <= floor else total


@helper
def add_to_rows(c, c0, c_rows, bias, bias0, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, chain, n):
    """As `add_rows`, to rows that lie anywhere: c[.. + c_rows[i] + q] += sum of a[.. + a_rows[i] + a_terms[k]] * b[..].

    Where `fresh`, the sums start from bias[bias0 + q]. So many terms are summed one after another as `chain_of` says.

    Precondition: as for `add_rows`; c_rows uint64, as many as a_rows; n takes at most WIDEST vectors.
    """
    if ENABLED:
        zero = np.int64(0)
        _tiles_of_rows(
            c, c0, c_rows, c_rows.size, bias[bias0:], zero, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, zero,
            b_terms.size, chain, n,
        )  # fmt: skip
        return
    for i in range(a_rows.size):
        target, source = np.uint64(c0) + c_rows[i], np.uint64(a0) + a_rows[i]
        for q in range(np.uint64(n)):
            total = bias[np.uint64(bias0) + q] if fresh else c[target + q]
            for k in range(b_terms.size):
                total += a[source + a_terms[k]] * b[np.uint64(b0) + b_terms[k] + q]
            c[target + q] = floor if total <= floor else total


@helper
def copy_rows(rows, d, d0, d_row, s, s0, s_row, stride, first, last, n):
    """d[d0 + i*d_row + q] = s[s0 + i*s_row + q*stride] where first <= q < last, otherwise 0, for i < rows and q < n.

    Precondition: flat arrays of one float type; int64; 0 <= first <= last <= n; s0 may be negative, s0 + first may not.
    """
    if ENABLED and stride == 1 and n > 64:
        for i in range(rows):  # long rows one by one, as they lie in memory; short ones in strips of one vector
            copy_tile(1, 1, d, d0 + i * d_row, 0, s, s0 + i * s_row, 0, first, last, n)
    elif ENABLED and stride == 1:
        copy_tile(1, rows, d, d0, d_row, s, s0, s_row, first, last, n)
    elif ENABLED and stride == 2:
        copy_tile(2, rows, d, d0, d_row, s, s0, s_row, first, last, n)
    elif ENABLED and stride == 4:
        copy_tile(4, rows, d, d0, d_row, s, s0, s_row, first, last, n)
    else:
        for i in range(rows):
            target, source = d0 + i * d_row, s0 + i * s_row
            for q in range(first):
                d[target + q] = 0
            for q in range(first, last):
                d[target + q] = s[source + q * stride]
            for q in range(last, n):
                d[target + q] = 0


@helper
def transpose(d, d0, s, s0, rows, columns, d_row, s_row):
    """d[d0 + j*d_row + i] = s[s0 + i*s_row + j] for i < rows and j < columns.

    Precondition: flat arrays of one float type that do not overlap.
    """
    if ENABLED:
        lanes = VECTOR_BYTES // d.itemsize
        for i in range(0, rows, lanes):
            for j in range(0, columns, lanes):
                transpose_tile(
                    d, d0 + j * d_row + i, d_row, s, s0 + i * s_row + j, s_row, min(lanes, rows - i),
                    min(lanes, columns - j),
                )  # fmt: skip
        return
    for i in range(rows):
        for j in range(columns):
            d[d0 + j * d_row + i] = s[s0 + i * s_row + j]


@helper
def add_dots(t, rows, a, a0, a_row, a_run, b, b0, b1, b2, b3, b_run, runs, n):
    """t[i, j, :] += sum over r < runs and q < n of a[a0 + i*a_row + r*a_run + q] * b[b_j + r*b_run + q], i < rows.

    The lanes of t are partial sums that the caller adds up once, at the end. Rows of b may be given twice.

    Precondition: a and b flat, t (at least rows, 4, LANES), one float type; rows at most DOT_ROWS.
    """
    if ENABLED:
        # so many cells and runs at once that a lane sums up to CHAIN products
        lanes = VECTOR_BYTES // a.itemsize
        cells, together = max(n, 1), max(runs, 1)
        if runs * -(-n // lanes) > CHAIN:  # a division takes as long as many products
            cells = min(n, CHAIN * lanes)
            together = max(1, CHAIN // -(-cells // lanes))
        for r in range(0, runs, together):
            for q in range(0, n, cells):
                a1, shift, some, m = a0 + r * a_run + q, r * b_run + q, min(together, runs - r), min(cells, n - q)
                starts = np.uint64(b0 + shift), np.uint64(b1 + shift), np.uint64(b2 + shift), np.uint64(b3 + shift)
                i = 0
                if MANY_REGISTERS and rows >= DOT_ROWS:
                    dots_tile(DOT_ROWS, t, 0, a, a1, a_row, a_run, b, starts, b_run, some, m)
                    i = DOT_ROWS
                elif MANY_REGISTERS and rows >= 4:
                    dots_tile(4, t, 0, a, a1, a_row, a_run, b, starts, b_run, some, m)
                    i = 4
                if rows - i >= 2:
                    dots_tile(2, t, i, a, a1 + i * a_row, a_row, a_run, b, starts, b_run, some, m)
                    i += 2
                if rows - i >= 1:
                    dots_tile(1, t, i, a, a1 + i * a_row, a_row, a_run, b, starts, b_run, some, m)
        return
    starts = (np.uint64(b0), np.uint64(b1), np.uint64(b2), np.uint64(b3))
    for i in range(rows):
        for j in range(4):
            total = t[i, j, 0]
            for r in range(runs):
                left, right = np.uint64(a0 + i * a_row + r * a_run), starts[j] + np.uint64(r * b_run)
                for q in range(np.uint64(n)):
                    total += a[left + q] * b[right + q]
            t[i, j, 0] = total


@helper
def max_windows(y, y0, numbers, n0, s, s0, rows, columns, row_step, width):
    """`pool_tiles.max_cells`: pooling of cells that hold a number of each of LANES images."""
    if ENABLED:
        max_cells(y, y0, numbers, n0, s, s0, rows, columns, row_step, width)
        return
    for px in range(width):
        for lane in range(LANES):
            corner, cell = s0 + px * columns * LANES + lane, px * LANES + lane
            best, at = s[corner], 0
            for r in range(rows):
                for c in range(columns):
                    value = s[corner + r * row_step + c * LANES]
                    if value > best or (value != value and best == best):
                        best, at = value, r * columns + c
            y[y0 + cell], numbers[n0 + cell] = best, at


@helper
def max_windows_of_sums(y, y0, y_row, numbers, n0, n_row, rows, floor, a, bias, x, x0, x_row, table, terms, K, width):
    """`pool_tiles.max_of_sums_tile` for all LANES, `rows` rows of K weights, one behind the other, and `width` windows.

    The windows lie side by side, and so do their results.
    """
    if ENABLED:
        vector, chain = VECTOR_BYTES // y.itemsize, chain_of(K)
        for cell in range(0, width * LANES, vector):
            i, Y, N, X = 0, y0 + cell, n0 + cell, x0 + cell + cell // LANES * LANES
            if MANY_REGISTERS:
                while rows - i >= 6:
                    max_of_sums_tile(
                        6, y, Y + i * y_row, y_row, numbers, N + i * n_row, n_row, floor, a, i * K, K, bias, i, x, X,
                        x_row, table, terms, K, chain,
                    )  # fmt: skip
                    i += 6
                if rows - i >= 4:
                    max_of_sums_tile(
                        4, y, Y + i * y_row, y_row, numbers, N + i * n_row, n_row, floor, a, i * K, K, bias, i, x, X,
                        x_row, table, terms, K, chain,
                    )  # fmt: skip
                    i += 4
            while rows - i >= 2:
                max_of_sums_tile(
                    2, y, Y + i * y_row, y_row, numbers, N + i * n_row, n_row, floor, a, i * K, K, bias, i, x, X,
                    x_row, table, terms, K, chain,
                )  # fmt: skip
                i += 2
            if rows > i:
                max_of_sums_tile(
                    1, y, Y + i * y_row, y_row, numbers, N + i * n_row, n_row, floor, a, i * K, K, bias, i, x, X,
                    x_row, table, terms, K, chain,
                )  # fmt: skip
        return
    for i in range(rows):
        for cell in range(width * LANES):
            best, at = floor, -1
            for j in range(4):
                corner = x0 + cell + cell // LANES * LANES + j // 2 * x_row + j % 2 * LANES
                total = bias[i]
                for k in range(K):
                    total += a[i * K + k] * x[np.int64(table[terms + k]) + corner]
                if at < 0 or total > best or (total != total and best == best):
                    best, at = total, j
            y[y0 + i * y_row + cell] = floor if best <= floor else best
            numbers[n0 + i * n_row + cell] = at


@helper
def spread_windows(s, s0, g, g0, numbers, n0, rows, columns, row_step, width):
    """`pool_tiles.spread_cells`, the way back of `max_windows`."""
    if ENABLED:
        spread_cells(s, s0, g, g0, numbers, n0, rows, columns, row_step, width)
        return
    for px in range(width):
        for lane in range(LANES):
            corner, cell = s0 + px * columns * LANES + lane, px * LANES + lane
            for r in range(rows):
                for c in range(columns):
                    there = numbers[n0 + cell] == r * columns + c
                    s[corner + r * row_step + c * LANES] = g[g0 + cell] if there else 0


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
