"""Whole small networks for a few images, one by one: inference in one call where most lanes would stay empty.

The units and their places are those of `units`, with an element in place of a cell; vectors go along rows of pixels,
and along the inputs of linear layers.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._runtime.jit import helper, kernel
from fastconv._runtime.pointers import array_at
from fastconv.kernels.fused.stage import MAX, RELU, activate, sizes
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region


@helper
def _products(unit, weight, bias, floor, arena):
    """The result of a linear layer."""
    K = np.uint64(unit.channels)
    for o in range(unit.out_channels):
        total, first = bias[o], np.uint64(o) * K
        for k in range(K):
            total += weight[first + k] * arena[np.uint64(unit.x) + k]
        arena[unit.y + o] = floor if total <= floor else total
    activate(unit.activation, arena, unit.y, unit.out_channels)


@helper
def _pool_row(unit, sums, first, py, arena):
    """One row of pooled pixels from rows of sums, of all channels."""
    plane, zero = unit.pool_rows * unit.sum_columns, arena.dtype.type(0)
    share = arena.dtype.type(1) / arena.dtype.type(unit.pool_rows * unit.pool_columns)
    for c in range(unit.out_channels):
        target, source = unit.y + c * unit.y_plane + py * unit.y_row, first + c * plane
        for px in range(unit.y_columns):
            corner = source + px * unit.pool_columns
            best, total = sums[corner], zero
            for r in range(unit.pool_rows):
                part = zero
                for q in range(unit.pool_columns):
                    value = sums[corner + r * unit.sum_columns + q]
                    part += value
                    best = value if value > best or value != value else best
                total += part * share
            arena[target + px] = best if unit.pool == MAX else total


@helper
def _convolve(unit, tables, weight, bias, floor, arena, scratch):
    """The result of a convolution, with its activation and its pooling."""
    OC, K = unit.out_channels, unit.channels * unit.kernel_rows * unit.kernel_columns
    zero, width = np.int64(0), unit.sum_columns
    weights = Matrix(weight, row_offsets(OC, K), row_offsets(K, np.int64(1)))
    inputs = Panel(arena, tables[unit.taps_apart : unit.taps_apart + K], unit.x_row)
    epilogue = Epilogue(bias, np.bool_(True), floor)
    if unit.pool == 0:
        add_rows(
            Region(arena, unit.y_plane, unit.y_row), unit.y, weights, zero, inputs, unit.x, epilogue, unit.sum_rows,
            width,
        )  # fmt: skip
        for c in range(OC):
            for r in range(unit.sum_rows):
                activate(unit.activation, arena, unit.y + c * unit.y_plane + r * unit.y_row, width)
        return
    plane = unit.pool_rows * width
    sums = Region(scratch, plane, width)
    for py in range(unit.y_rows):
        source = unit.x + py * unit.pool_rows * unit.x_row
        add_rows(sums, zero, weights, zero, inputs, source, epilogue, unit.pool_rows, width)
        activate(unit.activation, scratch, zero, OC * plane)
        _pool_row(unit, scratch, zero, py, arena)


@kernel
def forward_few(units, tables, values, nothing, images, arena, scratch, results):
    """The results of a network's units for images (N, ...), flat.

    Precondition: as for `lanes.forward`, but arena (N, cells) or more, and scratch (N, elements of a band of sums).
    Parallel over images, each of which owns its row of both.
    """
    size, features = sizes(units)
    for n in prange(images.size // size):
        first, last = units[0], units[units.size - 1]
        cells, own = arena[n], scratch[n]
        for c in range(first.channels):
            for r in range(first.rows):
                target = first.x + c * first.x_plane + (r + first.top) * first.x_row + first.left
                source = np.int64(n) * size + (c * first.rows + r) * first.columns
                cells[target : target + first.columns] = images[source : source + first.columns]
        for u in range(units.size):
            unit = units[u]
            K = unit.channels * unit.kernel_rows * unit.kernel_columns
            weight = array_at(values[unit.weight], unit.out_channels * K, nothing)
            bias = array_at(values[unit.bias], unit.out_channels, nothing) if unit.bias >= 0 else nothing
            floor = cells.dtype.type(0 if unit.activation == RELU else -np.inf)
            if unit.linear:
                _products(unit, weight, bias, floor, cells)
            else:
                _convolve(unit, tables, weight, bias, floor, cells, own)
        for i in range(features):
            results[np.int64(n) * features + i] = cells[last.y + i]
