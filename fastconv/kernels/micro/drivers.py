"""Max-pooling of cells that hold a number of each of LANES images, cut into vector tiles or as plain loops."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import helper
from fastconv.kernels.blocking import chain_of
from fastconv.kernels.indirection import row_offsets  # noqa: F401 - until all callers take it from there
from fastconv.kernels.micro.pooling import max_cells, max_of_sums_tile, spread_cells
from fastconv.kernels.micro.vectors import LANES, MANY_REGISTERS, VECTOR_BYTES


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
