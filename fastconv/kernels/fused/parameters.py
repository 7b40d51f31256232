"""The parameters of a fused network: their arrays, and the gradients that are summed over all blocks of a batch."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import inlined, linked_helper
from fastconv._runtime.pointers import array_at
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import LANES
from fastconv.kernels.updates import NO_RULE, update_part


@inlined
def weight_of(stage, network):
    """The weights of a stage, flat."""
    convolution = stage.convolution
    return array_at(network.values[convolution.weight], stage.sums.C * convolution.K, network.nothing)


@inlined
def bias_of(stage, network):
    """The bias of a stage, zeros where it has none."""
    bias, nothing = stage.convolution.bias, network.nothing
    return array_at(network.values[bias], stage.sums.C, nothing) if bias >= 0 else nothing


@inlined
def _target(parameter, targets):
    """The address of a parameter's gradient, 0 where none is wanted, and whether what is there does not count."""
    if parameter < 0:
        return np.int64(0), np.bool_(False)
    return targets.grads[parameter], targets.fresh[parameter]


@linked_helper
def _sum_blocks(stage, first, count, nothing, partial, blocks, targets):
    """Some of a convolution's gradients: the blocks' sums for its weights, then for its biases."""
    OC, K = stage.sums.C, stage.convolution.K
    size, begin = OC * K, np.uint64(stage.gradients.partial + first)
    for block in range(1, blocks):  # in place of the first block's
        for i in range(np.uint64(count)):
            partial[0, begin + i] += partial[block, begin + i]
    weights = min(max(size - first, 0), count)
    address, fresh = _target(stage.convolution.weight, targets)
    if address != 0:
        grad = array_at(address, size, nothing)
        for i in range(np.uint64(weights)):
            old = nothing[0] if fresh else grad[np.uint64(first) + i]
            grad[np.uint64(first) + i] = old + partial[0, begin + i]
    address, fresh = _target(stage.convolution.bias, targets)
    if address != 0:
        grad = array_at(address, OC, nothing)
        for i in range(weights, count):
            place = first + i - size
            grad[place] = (nothing[0] if fresh else grad[place]) + partial[0, begin + np.uint64(i)]


@linked_helper
def _multiply_samples(stage, first, count, column, columns, nothing, arena, blocks, targets):
    """Some of a linear layer's gradients, of features and their inputs: products of what all blocks have kept."""
    OC, K, g = stage.sums.C, stage.convolution.K, stage.gradients.sums.start
    flat, length = arena.reshape(-1), arena.shape[1]
    lowest, zero, one = arena.dtype.type(-np.inf), np.int64(0), np.int64(1)
    address, fresh = _target(stage.convolution.weight, targets)
    if address != 0:
        grad = array_at(address, OC * K, nothing)
        rows = row_offsets(count, np.int64(LANES))
        terms, samples = np.empty(blocks * LANES, np.uint64), np.empty(blocks * LANES, np.uint64)
        for i in range(blocks * LANES):
            place = i // LANES * length
            terms[i], samples[i] = place + i % LANES, place + i % LANES * K
        add_rows(
            Region(grad, K, zero), first * K + column, Matrix(flat, rows, terms), (g + first) * LANES,
            Panel(flat, samples, zero), stage.gradients.samples * LANES + column, Epilogue(nothing, fresh, lowest),
            one, columns,
        )  # fmt: skip
    address, fresh = _target(stage.convolution.bias, targets)
    if address != 0 and column == 0:
        grad = array_at(address, OC, nothing)
        for o in range(first, first + count):
            total = nothing[0] if fresh else grad[o]
            for block in range(blocks):
                place = block * length + (g + o) * LANES
                for i in range(np.uint64(place), np.uint64(place + LANES)):
                    total += flat[i]
            grad[o] = total


@linked_helper
def _step(stage, first, count, values, targets):
    """The optimiser's step of a convolution's weights and biases whose gradients a task has computed."""
    size = stage.sums.C * stage.convolution.K
    weights = min(max(size - first, 0), count)
    for p, begin, length in (
        (stage.convolution.weight, min(first, size), weights),
        (stage.convolution.bias, max(first - size, 0), count - weights),
    ):
        if p >= 0:
            update_part(values, targets.grads, p, begin, length, targets.step)


@linked_helper
def _linear_step(stage, first, count, column, columns, values, targets):
    """That of a linear layer's weights, and with its first inputs that of the biases."""
    K, p, whole = stage.convolution.K, stage.convolution.weight, columns == stage.convolution.K
    for o in range(first, first + 1 if whole else first + count):
        update_part(values, targets.grads, p, o * K + column, count * K if whole else columns, targets.step)
    p = stage.convolution.bias
    if p >= 0 and column == 0:
        update_part(values, targets.grads, p, first, count, targets.step)


@linked_helper
def update_task(network, tasks, task, arena, partial, blocks, targets):
    """Some of the gradients of a stage's parameters, and the step that is taken with them."""
    stage, first, count = network.stages[tasks[task, 0]], tasks[task, 1], tasks[task, 2]
    column, columns, steps = tasks[task, 3], tasks[task, 4], targets.step.rule != NO_RULE
    if stage.convolution.linear:
        _multiply_samples(stage, first, count, column, columns, network.nothing, arena, blocks, targets)
        if steps:
            _linear_step(stage, first, count, column, columns, network.values, targets)
        return
    _sum_blocks(stage, first, count, network.nothing, partial, blocks, targets)
    if steps:
        _step(stage, first, count, network.values, targets)
