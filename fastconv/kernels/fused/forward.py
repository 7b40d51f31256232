"""The forward pass of one stage for a block of interleaved images: convolution, activation, pooling."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import linked_helper
from fastconv.kernels.fused.activation import activate, lowest_of
from fastconv.kernels.fused.records import MAX, NO_POOL
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.argmax import as_integers
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.interleaved_pool import max_windows
from fastconv.kernels.micro.pooled_sums import pooled_sums
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import LANES


@linked_helper
def _max_row(stage, sums, first, py, arena):
    """One row of maxima, of all channels, from the rows of sums that begin in cell `first`."""
    y, pool, row, argmax = stage.output, stage.pool, stage.sums.row * LANES, as_integers(arena)
    for c in range(y.C):
        target, source = y.start + c * y.plane + py * y.row, first + c * stage.sums.plane
        numbers = pool.argmax + (c * y.H + py) * y.W
        max_windows(
            arena, target * LANES, argmax, numbers * LANES, sums, source * LANES, pool.KH, pool.KW, row, y.W
        )  # fmt: skip


@linked_helper
def _mean_row(stage, sums, first, py, arena):
    """One row of means, of all channels, from the rows of sums that begin in cell `first`."""
    y, pool, row = stage.output, stage.pool, stage.sums.row * LANES
    share, part = arena.dtype.type(1) / arena.dtype.type(pool.KH * pool.KW), np.empty(LANES, arena.dtype)
    for c in range(y.C):
        target, source = (y.start + c * y.plane + py * y.row) * LANES, (first + c * stage.sums.plane) * LANES
        for px in range(y.W):
            cell, corner = np.uint64(target + px * LANES), source + px * pool.KW * LANES
            for lane in range(np.uint64(LANES)):
                arena[cell + lane] = 0
            for r in range(pool.KH):
                part[:] = 0
                for j in range(pool.KW):
                    tap = np.uint64(corner + r * row + j * LANES)
                    for lane in range(np.uint64(LANES)):
                        part[lane] += sums[tap + lane]
                for lane in range(np.uint64(LANES)):
                    arena[cell + lane] += part[lane] * share


@linked_helper
def _pooled_in_registers(stage, taps, weight, epilogue, arena):
    """The maxima of windows of 2 x 2 sums that are never stored."""
    x, y = stage.padded, stage.output
    results, inputs = Region(arena, y.plane * LANES, y.W * LANES), Panel(arena, taps, x.row * LANES)
    numbers = Region(as_integers(arena), y.H * y.W * LANES, y.W * LANES)
    for py in range(y.H):
        pooled_sums(
            results, (y.start + py * y.row) * LANES, numbers, (stage.pool.argmax + py * y.W) * LANES, weight,
            inputs, (x.start + 2 * py * x.row) * LANES, epilogue, y.C, y.W,
        )  # fmt: skip


@linked_helper
def forward_stage(stage, tables, weight, bias, arena, scratch):
    """The result of a stage for the images of a block."""
    convolution, pool, x, s = stage.convolution, stage.pool, stage.padded, stage.sums
    K, zero = convolution.K, np.int64(0)
    epilogue = Epilogue(bias, np.bool_(True), lowest_of(convolution.activation, arena))
    taps = tables[convolution.taps : convolution.taps + K]
    if pool.in_registers:
        _pooled_in_registers(stage, taps, weight, epilogue, arena)
        return
    weights, inputs = (
        Matrix(weight, row_offsets(s.C, K), row_offsets(K, np.int64(1))),
        Panel(arena, taps, x.row * LANES),
    )
    source, width = x.start * LANES, s.W * LANES
    if pool.kind == NO_POOL:
        results = Region(arena, s.plane * LANES, s.row * LANES)
        add_rows(results, s.start * LANES, weights, zero, inputs, source, epilogue, s.H, width)
        if s.plane == 1:  # of a linear layer: one call for all
            activate(convolution.activation, arena, s.start * LANES, s.C * LANES)
            return
        for c in range(s.C):
            for r in range(s.H):
                activate(convolution.activation, arena, (s.start + c * s.plane + r * s.row) * LANES, width)
        return
    sums = arena if pool.keeps_sums else scratch
    band = Region(sums, s.plane * LANES, width)
    for py in range(stage.output.H):
        first = s.start + (py * pool.KH * s.row if pool.keeps_sums else 0)
        source = (x.start + py * pool.KH * x.row) * LANES
        add_rows(band, first * LANES, weights, zero, inputs, source, epilogue, pool.KH, width)
        for c in range(s.C):
            activate(convolution.activation, sums, (first + c * s.plane) * LANES, pool.KH * width)
        if pool.kind == MAX:
            _max_row(stage, sums, first, py, arena)
        else:
            _mean_row(stage, sums, first, py, arena)
