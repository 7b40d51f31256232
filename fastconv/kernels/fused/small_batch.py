"""Whole small networks for a few images, one by one: inference in one call where most lanes would stay empty.

The stages and their places are those of `records`, with an element in place of a cell; vectors go along rows of pixels,
and along the inputs of linear layers.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper, kernel, linked_helper
from fastconv._runtime.launch import prange
from fastconv.kernels.fused.activation import activate, lowest_of
from fastconv.kernels.fused.network import sizes
from fastconv.kernels.fused.parameters import bias_of, weight_of
from fastconv.kernels.fused.records import MAX, NO_POOL
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region


@linked_helper
def _multiply(stage, weight, bias, lowest, arena):
    """The result of a linear layer."""
    K, x, y = np.uint64(stage.convolution.K), np.uint64(stage.padded.start), stage.output
    for o in range(y.C):
        total, first = bias[o], np.uint64(o) * K
        for k in range(K):
            total += weight[first + k] * arena[x + k]
        arena[y.start + o] = lowest if total <= lowest else total
    activate(stage.convolution.activation, arena, y.start, y.C)


@helper
def _pool_row(stage, sums, py, arena):
    """One row of pooled pixels from rows of sums, of all channels."""
    pool, y, width = stage.pool, stage.output, stage.sums.W
    plane, zero = pool.KH * width, arena.dtype.type(0)
    share = arena.dtype.type(1) / arena.dtype.type(pool.KH * pool.KW)
    for c in range(y.C):
        target, source = y.start + c * y.plane + py * y.row, c * plane
        for px in range(y.W):
            corner = source + px * pool.KW
            best, total = sums[corner], zero
            for r in range(pool.KH):
                part = zero
                for q in range(pool.KW):
                    value = sums[corner + r * width + q]
                    part += value
                    best = value if value > best or value != value else best
                total += part * share
            arena[target + px] = best if pool.kind == MAX else total


@linked_helper
def _convolve(stage, tables, weight, bias, lowest, arena, scratch):
    """The result of a convolution, with its activation and its pooling."""
    convolution, pool, x, s = stage.convolution, stage.pool, stage.padded, stage.sums
    K, zero = convolution.K, np.int64(0)
    weights = Matrix(weight, row_offsets(s.C, K), row_offsets(K, np.int64(1)))
    inputs = Panel(arena, tables[convolution.taps_apart : convolution.taps_apart + K], x.row)
    epilogue = Epilogue(bias, np.bool_(True), lowest)
    if pool.kind == NO_POOL:
        results = Region(arena, s.plane, s.row)
        add_rows(results, s.start, weights, zero, inputs, x.start, epilogue, s.H, s.W)
        for c in range(s.C):
            for r in range(s.H):
                activate(convolution.activation, arena, s.start + c * s.plane + r * s.row, s.W)
        return
    plane = pool.KH * s.W
    band = Region(scratch, plane, s.W)
    for py in range(stage.output.H):
        source = x.start + py * pool.KH * x.row
        add_rows(band, zero, weights, zero, inputs, source, epilogue, pool.KH, s.W)
        activate(convolution.activation, scratch, zero, s.C * plane)
        _pool_row(stage, scratch, py, arena)


@kernel
def forward_few(team, network, images, arena, scratch, results):
    """The results of a network for images (N, ...), flat.

    Precondition: as for `network.forward`, but arena (N, cells) or more, and scratch (N, elements of a band of sums).
    Parallel over images, each of which owns its row of both.
    """
    size, features = sizes(network.stages)
    for n in prange(team, images.size // size):
        x, y = network.stages[0].input, network.stages[network.stages.size - 1].output
        cells, own = arena[n], scratch[n]
        for c in range(x.C):
            for r in range(x.H):
                target = x.start + c * x.plane + r * x.row
                source = n * size + (c * x.H + r) * x.W
                cells[target : target + x.W] = images[source : source + x.W]
        for s in range(network.stages.size):
            stage = network.stages[s]
            weight, bias = weight_of(stage, network), bias_of(stage, network)
            lowest = lowest_of(stage.convolution.activation, cells)
            if stage.convolution.linear:
                _multiply(stage, weight, bias, lowest, cells)
            else:
                _convolve(stage, network.tables, weight, bias, lowest, cells, own)
        for i in range(features):
            results[n * features + i] = cells[y.start + i]
