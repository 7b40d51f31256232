"""The gradients of one stage for a block of interleaved images, with every pixel of the convolution."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper, linked_helper
from fastconv.kernels.blocking import block_sum
from fastconv.kernels.fused.activation import through_activation
from fastconv.kernels.fused.records import MAX, NO_POOL
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.argmax import as_integers
from fastconv.kernels.micro.copy import copy_rows
from fastconv.kernels.micro.dot import add_dots, lane_sum
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.interleaved_pool import spread_windows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import DOT_ROWS, LANES


@linked_helper
def output_through_activation(stage, arena, scratch):
    """The gradient of the output, times the activation's derivative there: at the maxima where they are pooled."""
    y, g = stage.output, stage.gradients.output
    for c in range(y.C):
        for r in range(y.H):
            result, source = y.start + c * y.plane + r * y.row, g.start + c * g.plane + r * g.row
            through_activation(
                stage.convolution.activation, scratch, source * LANES, arena, result * LANES, y.W * LANES
            )  # fmt: skip


@helper
def _sums_through_activation(stage, c, arena, sums):
    """The gradient of a plane of sums, times the activation's derivative there."""
    s, g = stage.sums, stage.gradients.sums
    for r in range(s.H):
        target, result = g.start + c * g.plane + r * g.row, s.start + c * s.plane + r * s.row
        through_activation(stage.convolution.activation, sums, target * LANES, arena, result * LANES, s.W * LANES)


@helper
def _share_row(stage, corner, source, scratch, sums):
    """The gradients of a row of windows that gave means, from those of the means."""
    pool, row = stage.pool, stage.gradients.sums.row
    taps = pool.KH * pool.KW
    share = scratch.dtype.type(1) / scratch.dtype.type(taps)
    for j in range(taps):
        tap = corner + j // pool.KW * row + j % pool.KW
        for px in range(stage.output.W):
            g, target = np.uint64((source + px) * LANES), np.uint64((tap + px * pool.KW) * LANES)
            for lane in range(np.uint64(LANES)):
                sums[target + lane] = scratch[g + lane] * share


@linked_helper
def spread(stage, arena, scratch, sums):
    """The gradient of the sums, zero beside the pixels, from that of the output."""
    pool, y, s = stage.pool, stage.gradients.output, stage.gradients.sums
    width, zero, one, argmax = y.W * LANES, np.int64(0), np.int64(1), as_integers(arena)
    for c in range(y.C):
        for r in range(y.H):
            source, corner = y.start + c * y.plane + r * y.row, s.start + c * s.plane + r * pool.KH * s.row
            if pool.kind == NO_POOL:
                copy_rows(one, sums, corner * LANES, zero, scratch, source * LANES, zero, one, zero, width, width)
            elif pool.kind == MAX:
                numbers = (pool.argmax + (c * y.H + r) * y.W) * LANES
                spread_windows(
                    sums, corner * LANES, scratch, source * LANES, argmax, numbers, pool.KH, pool.KW, s.row * LANES, y.W
                )  # fmt: skip
            else:
                _share_row(stage, corner, source, scratch, sums)
        if pool.keeps_sums:
            _sums_through_activation(stage, c, arena, sums)


@linked_helper
def weight_gradient(stage, tables, arena, sums, partial, block):
    """The gradients of a convolution's weights and bias, summed over the images of a block."""
    convolution, x, g = stage.convolution, stage.padded, stage.gradients.sums
    K, OC, to = convolution.K, g.C, stage.gradients.partial
    grads = Region(sums, g.plane * LANES, g.row * LANES)
    inputs = Panel(arena, tables[convolution.taps : convolution.taps + K], x.row * LANES)
    dots = np.empty((DOT_ROWS, 4, LANES), arena.dtype)
    for oc in range(0, OC, DOT_ROWS):
        rows = min(DOT_ROWS, OC - oc)
        for k in range(0, K, 4):
            dots[:] = 0
            first = (g.start + oc * g.plane) * LANES
            add_dots(dots, rows, grads, first, inputs, x.start * LANES, k, g.H, g.W * LANES)
            for i in range(rows):
                for j in range(min(4, K - k)):
                    partial[block, to + (oc + i) * K + k + j] = lane_sum(dots, i, j)
    for c in range(OC):
        first = (g.start - stage.gradients.zeros + c * g.plane) * LANES
        partial[block, to + OC * K + c] = block_sum(sums, first, g.plane * LANES)


@linked_helper
def input_gradient(stage, tables, weight, nothing, sums, scratch):
    """The gradient of a stage's input: for each of its rows, the taps that reach it."""
    convolution, gradients, x, g = stage.convolution, stage.gradients, stage.gradients.input, stage.gradients.sums
    taps, zero, one = g.C * convolution.KW, np.int64(0), np.int64(1)
    results, epilogue = (
        Region(scratch, x.plane * LANES, zero),
        Epilogue(nothing, np.bool_(True), scratch.dtype.type(-np.inf)),
    )
    rows = row_offsets(x.C, convolution.KH * convolution.KW)
    for r in range(x.H):
        bottom = r + convolution.top
        first = max(0, bottom - g.H + 1) * taps
        last = max(first, min(convolution.KH - 1, bottom) * taps + taps)
        source = (g.start - gradients.zeros + bottom * g.row) * LANES
        weights = Matrix(weight, rows, tables[gradients.terms + first : gradients.terms + last])
        pixels = Panel(sums, tables[gradients.inputs + first : gradients.inputs + last], zero)
        target = (x.start + r * x.row) * LANES
        add_rows(results, target, weights, zero, pixels, source, epilogue, one, x.W * LANES)
