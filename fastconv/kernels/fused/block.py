"""What a network with images side by side does with a block of them, and with part of a parameter.

These are the helpers that the kernels of `lanes` call where they lie.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper
from fastconv._runtime.pointers import array_at
from fastconv.kernels.elementwise import cross_entropy_row, sgd_part
from fastconv.kernels.fused.argmax_gradients import (
    by_image,
    input_gradient_by_image,
    weight_gradient_by_image,
    weight_gradient_by_window,
)
from fastconv.kernels.fused.stage import forward_unit, input_gradient, slopes, spread, weight_gradient
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import LANES


@helper
def _load(images, n, count, unit, arena):
    """Put `count` images from the n-th on into the lanes of the unit's padded planes, zeros into the other lanes."""
    H, W = unit.rows, unit.columns
    size = unit.channels * H * W
    for c in range(unit.channels):
        for r in range(H):
            target = (unit.x + c * unit.x_plane + (r + unit.top) * unit.x_row + unit.left) * LANES
            if count < LANES:
                arena[target : target + W * LANES] = 0
            transpose(arena, target, images, n * size + (c * H + r) * W, count, W, LANES, size)


@helper
def forward_block(units, tables, values, nothing, images, n, count, cells, own):
    """The results of all units for `count` images from the n-th on, left in the arena's row `cells`."""
    _load(images, n, count, units[0], cells)
    for u in range(units.size):
        unit = units[u]
        K = unit.channels * unit.kernel_rows * unit.kernel_columns
        weight = array_at(values[unit.weight], unit.out_channels * K, nothing)
        bias = array_at(values[unit.bias], unit.out_channels, nothing) if unit.bias >= 0 else nothing
        forward_unit(unit, tables, weight, bias, cells, own)
        if unit.linear:
            transpose(cells, unit.samples * LANES, cells, unit.x * LANES, K, LANES, K, LANES)


@helper
def entropies(last, features, labels, n, count, cells, own, losses):
    """The cross-entropies of `count` images' results, and their mean's gradient, image by image in the scratch."""
    logits, grads = last.logits * LANES, last.grad_logits * LANES
    transpose(own, logits, cells, last.y * LANES, features, count, features, LANES)
    wanted = own[last.wanted * LANES : last.wanted * LANES + features]
    for i in range(count):
        first, label = i * features, labels[n + i]
        wanted[label] = 1
        losses[n + i] = cross_entropy_row(
            own[logits + first : logits + first + features], wanted, labels.size,
            own[grads + first : grads + first + features],
        )  # fmt: skip
        wanted[label] = 0


@helper
def backward_block(units, tables, values, nothing, need_x, count, cells, own, patterns, parts, part):
    """From the last unit's gradient in the scratch to those of all inputs, and the sums for the parameters."""
    for u in range(units.size - 1, -1, -1):
        unit = units[u]
        K = unit.channels * unit.kernel_rows * unit.kernel_columns
        wanted = u > 0 or need_x
        if not unit.kept:
            slopes(unit, cells, own)
        if unit.by_image:
            by_image(unit, tables, cells, own)
            weight_gradient_by_image(unit, tables, own, parts, part, count)
            if wanted:
                input_gradient_by_image(unit, tables, patterns, own, count)
            continue
        sums = cells if unit.linear else own
        if wanted or not unit.by_window:
            spread(unit, cells, own, sums)
        if unit.by_window:
            weight_gradient_by_window(unit, cells, own, parts, part)
        elif not unit.linear:
            weight_gradient(unit, tables, cells, sums, parts, part)
        if wanted:
            weight = array_at(values[unit.weight], unit.out_channels * K, nothing)
            input_gradient(unit, tables, weight, nothing, sums, own)


@helper
def _add_parts(unit, first, count, nothing, parts, blocks, weight_at, fresh_weight, bias_at, fresh_bias):
    """Some of a convolution's gradients: the blocks' sums for its weights, then for its biases."""
    size = unit.out_channels * unit.channels * unit.kernel_rows * unit.kernel_columns
    begin = np.uint64(unit.parts + first)
    for block in range(1, blocks):  # in place of the first block's
        for i in range(np.uint64(count)):
            parts[0, begin + i] += parts[block, begin + i]
    weights = min(max(size - first, 0), count)
    if weight_at != 0:
        grad = array_at(weight_at, size, nothing)
        for i in range(np.uint64(weights)):
            old = nothing[0] if fresh_weight else grad[np.uint64(first) + i]
            grad[np.uint64(first) + i] = old + parts[0, begin + i]
    if bias_at != 0:
        grad = array_at(bias_at, unit.out_channels, nothing)
        for i in range(weights, count):
            place = first + i - size
            grad[place] = (nothing[0] if fresh_bias else grad[place]) + parts[0, begin + np.uint64(i)]


@helper
def _add_products(unit, first, count, nothing, arena, blocks, weight_at, fresh_weight, bias_at, fresh_bias):
    """The gradients of some of a linear layer's features: products of what all blocks have kept."""
    K = unit.channels
    flat, length = arena.reshape(-1), arena.shape[1]
    lowest, zero, one = arena.dtype.type(-np.inf), np.int64(0), np.int64(1)
    if weight_at != 0:
        grad = array_at(weight_at, unit.out_channels * K, nothing)
        rows = row_offsets(count, np.int64(LANES))
        terms, samples = np.empty(blocks * LANES, np.uint64), np.empty(blocks * LANES, np.uint64)
        for i in range(blocks * LANES):
            place = i // LANES * length
            terms[i], samples[i] = place + i % LANES, place + i % LANES * K
        add_rows(
            Region(grad, K, zero), first * K, Matrix(flat, rows, terms), (unit.grad_sums + first) * LANES,
            Panel(flat, samples, zero), unit.samples * LANES, Epilogue(nothing, fresh_weight, lowest), one, K,
        )  # fmt: skip
    if bias_at != 0:
        grad = array_at(bias_at, unit.out_channels, nothing)
        for o in range(first, first + count):
            total = nothing[0] if fresh_bias else grad[o]
            for block in range(blocks):
                place = block * length + (unit.grad_sums + o) * LANES
                for i in range(np.uint64(place), np.uint64(place + LANES)):
                    total += flat[i]
            grad[o] = total


@helper
def _update(unit, first, count, values, grads, velocities, numbers):
    """A step of SGD of the weights and biases whose gradients a task has computed."""
    K = unit.channels * unit.kernel_rows * unit.kernel_columns
    size = unit.out_channels * K
    if unit.linear:
        weights, biases = (first * K, count * K), (first, count)
    else:
        weights = min(first, size), min(max(size - first, 0), count)
        biases = max(first - size, 0), count - weights[1]
    for p, (begin, length) in ((unit.weight, weights), (unit.bias, biases)):
        if p >= 0:
            end = begin + length
            value, grad = array_at(values[p], end, numbers), array_at(grads[p], end, numbers)
            sgd_part(value, grad, array_at(velocities[p], end, numbers), begin, length, numbers)


@helper
def task(units, tasks, task, values, nothing, arena, parts, blocks, grads, fresh, velocities, numbers):
    """Some of the gradients of a unit's parameters, and what they change there."""
    unit, first, count = units[tasks[task, 0]], tasks[task, 1], tasks[task, 2]
    weight_at, fresh_weight = grads[unit.weight], fresh[unit.weight]
    bias_at, fresh_bias = (grads[unit.bias], fresh[unit.bias]) if unit.bias >= 0 else (np.int64(0), np.bool_(False))
    if unit.linear:
        _add_products(unit, first, count, nothing, arena, blocks, weight_at, fresh_weight, bias_at, fresh_bias)
    else:
        _add_parts(unit, first, count, nothing, parts, blocks, weight_at, fresh_weight, bias_at, fresh_bias)
    if velocities.size > 0:
        _update(unit, first, count, values, grads, velocities, numbers)
