"""Whole small networks on interleaved images: one parallel loop forward, one backward, whatever the layers are.

In the batch-interleaved layout a cell holds the same number of LANES images, one in each lane; so every loop of a small
network is full of vectors, whatever the sizes of its planes. A block of that many images goes through all stages of the
network in one task, with its activations in the core's L2 cache.

The gradients of the parameters are summed over the blocks in order, so they have the same bits for any number of
threads.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import prange, types

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.calls import address_of, call_at
from fastconv._runtime.jit import helper, kernel
from fastconv.kernels.fused.argmax_gradients import shift_weights
from fastconv.kernels.fused.arrays import Network, Targets
from fastconv.kernels.fused.block import backward_block, cross_entropies, forward_block
from fastconv.kernels.fused.parameters import update_task, weight_of
from fastconv.kernels.fused.records import BY_IMAGE, STAGE
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.vectors import LANES


@functools.cache
def entries_of(dtype: np.dtype, gradients: bool) -> np.ndarray:
    """Where the helpers lie that take a block forward and, for `gradients`, backward, and sum over the blocks."""
    number, integer, boolean = numba.from_dtype(dtype), types.int64, types.boolean
    flat, rows, tasks = types.Array(number, 1, "C"), types.Array(number, 2, "C"), types.Array(integer, 2, "C")
    whole, some = np.empty(1, np.int64), np.empty(1, dtype)
    network = numba.typeof(Network(np.empty(1, STAGE), whole.view(np.uint64), whole, some))
    found = [address_of(forward_block, network, flat, integer, integer, flat, flat)]
    if gradients:
        targets = numba.typeof(Targets(whole, np.empty(1, np.bool_), whole, some))
        found += [
            address_of(backward_block, network, boolean, integer, flat, flat, flat, rows, integer),
            address_of(update_task, network, tasks, integer, rows, rows, integer, targets),
        ]
    return np.array(found, np.int64)


@helper
def sizes(stages):
    """The elements of an image, and those of its result."""
    x, y = stages[0].input, stages[stages.size - 1].output
    return x.C * x.H * x.W, y.C * y.H * y.W


@kernel
def forward(entries, network, images, keep, arena, scratch, results):
    """The results of a network for images (N, ...), by blocks of LANES.

    Precondition: entries of the images' dtype; images and results (N, ...) flat; arena and scratch as for `Workspace`,
    and the arena has a row for each worker alone unless `keep`. Parallel over workers, each of which takes successive
    blocks and owns its rows of both.
    """
    size, features = sizes(network.stages)
    N = images.size // size
    blocks = ceil_div(N, LANES)
    workers = min(len(scratch), blocks)
    for share in prange(workers):
        worker = np.int64(share)
        own = scratch[worker]
        for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
            cells = arena[block if keep else worker]
            n = block * LANES
            count = min(LANES, N - n)
            call_at(entries[0], (network, images, n, count, cells, own))
            y = network.stages[network.stages.size - 1].output.start * LANES
            transpose(results, n * features, cells, y, features, count, features, LANES)


@kernel
def backward(entries, network, batch, workspace, tasks, targets, grad_images):
    """Add the gradients of the parameters to the targets, and compute that of the images unless it is empty.

    The gradients are those of the mean cross-entropy of the images' results with the batch's labels, after a forward
    pass here; or, where there are no labels, those that its grad_results give, after one of `forward`.

    Precondition: as for `forward`, with `keep`, whose arena this is; tasks (T, 3) the stage, the first of its output
    features or sums, and how many, each once. Parallel over workers, each of which takes successive blocks and owns
    their rows of the arena and of the partial sums, and its row of the scratch; and then over tasks, each of which owns
    its part of a gradient, and of the parameter, and sums the blocks in order.
    """
    size, features = sizes(network.stages)
    arena, scratch, patterns, partial = workspace.arena, workspace.scratch, workspace.patterns, workspace.partial
    need_x, learning = grad_images.size > 0, batch.labels.size > 0
    N = batch.labels.size if learning else batch.grad_results.size // features
    blocks = ceil_div(N, LANES)
    for s in range(network.stages.size):
        stage = network.stages[s]
        if stage.argmax.way == BY_IMAGE and (s > 0 or need_x):
            shift_weights(stage, network.tables, weight_of(stage, network), patterns)
    workers = min(len(scratch), blocks)
    for share in prange(workers):
        worker = np.int64(share)
        own = scratch[worker]
        for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
            cells, n = arena[block], block * LANES
            count = min(LANES, N - n)
            last = network.stages[network.stages.size - 1]
            grad, grad_logits = last.gradients.output.start * LANES, last.loss.grad * LANES
            if count < LANES:
                own[grad : grad + features * LANES] = 0
            if learning:
                call_at(entries[0], (network, batch.images, n, count, cells, own))
                cross_entropies(last, batch, n, count, cells, own)
                transpose(own, grad, own, grad_logits, count, features, LANES, features)
            else:
                transpose(own, grad, batch.grad_results, n * features, count, features, LANES, features)
            call_at(entries[1], (network, need_x, count, cells, own, patterns, partial, block))
            if need_x:
                grad_x = network.stages[0].gradients.input.start * LANES
                transpose(grad_images, n * size, own, grad_x, size, count, size, LANES)
    for number in prange(tasks.shape[0]):
        call_at(entries[2], (network, tasks, np.int64(number), arena, partial, blocks, targets))
