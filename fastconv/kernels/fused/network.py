"""Whole small networks on interleaved images: one parallel loop forward, one backward, whatever the layers are.

In the batch-interleaved layout a cell holds the same number of LANES images, one in each lane; so every loop of a small
network is full of vectors, whatever the sizes of its planes. A block of that many images goes through all stages of the
network in one task, with its activations in the core's L2 cache.

The gradients of the parameters are summed over the blocks in order, so they have the same bits for any number of
threads.
"""

from __future__ import annotations

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import helper, kernel, kernel_after
from fastconv._runtime.launch import prange
from fastconv.kernels.fused.argmax_gradients import shift_weights
from fastconv.kernels.fused.block import backward_block, cross_entropies, forward_block
from fastconv.kernels.fused.parameters import update_task, weight_of
from fastconv.kernels.fused.records import BY_IMAGE
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.vectors import LANES


@helper
def sizes(stages):
    """The elements of an image, and those of its result."""
    x, y = stages[0].input, stages[stages.size - 1].output
    return x.C * x.H * x.W, y.C * y.H * y.W


@helper
def images_of(network, batch):
    """How many images a backward pass is of."""
    return batch.labels.size if batch.labels.size > 0 else batch.grad_results.size // sizes(network.stages)[1]


@kernel
def forward(team, network, images, keep, arena, scratch, results):
    """The results of a network for images (N, ...), by blocks of LANES.

    Precondition: images and results (N, ...) flat; arena and scratch as for `Workspace`, and the arena has a row for
    each worker alone unless `keep`. Parallel over workers, each of which takes successive blocks and owns its rows of
    both.
    """
    size, features = sizes(network.stages)
    N = images.size // size
    blocks = ceil_div(N, LANES)
    workers = min(len(scratch), blocks)
    for worker in prange(team, workers):
        own = scratch[worker]
        for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
            cells = arena[block if keep else worker]
            n = block * LANES
            count = min(LANES, N - n)
            forward_block(network, images, n, count, cells, own)
            y = network.stages[network.stages.size - 1].output.start * LANES
            transpose(results, n * features, cells, y, features, count, features, LANES)


@kernel
def _shift_weights(team, network, batch, workspace, tasks, targets, grad_images):
    """The weights as `backward` needs them. Parallel over stages, each of which owns its patterns."""
    for s in prange(team, network.stages.size):
        stage = network.stages[s]
        if stage.argmax.way == BY_IMAGE and (s > 0 or grad_images.size > 0):
            shift_weights(stage, network.tables, weight_of(stage, network), workspace.patterns)


@kernel_after(_shift_weights, alone=True)
def _backward_blocks(team, network, batch, workspace, tasks, targets, grad_images):
    """Blocks of LANES images through all stages and back, for `backward`.

    Parallel over workers, each of which takes successive blocks and owns their rows of the arena and of the partial
    sums, and its row of the scratch.
    """
    size, features = sizes(network.stages)
    arena, scratch, patterns, partial = workspace.arena, workspace.scratch, workspace.patterns, workspace.partial
    need_x, learning = grad_images.size > 0, batch.labels.size > 0
    N = images_of(network, batch)
    blocks = ceil_div(N, LANES)
    workers = min(len(scratch), blocks)
    for worker in prange(team, workers):
        own = scratch[worker]
        for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
            cells, n = arena[block], block * LANES
            count = min(LANES, N - n)
            last = network.stages[network.stages.size - 1]
            grad, grad_logits = last.gradients.output.start * LANES, last.loss.grad * LANES
            if count < LANES:
                own[grad : grad + features * LANES] = 0
            if learning:
                forward_block(network, batch.images, n, count, cells, own)
                cross_entropies(last, batch, n, count, cells, own)
                transpose(own, grad, own, grad_logits, count, features, LANES, features)
            else:
                transpose(own, grad, batch.grad_results, n * features, count, features, LANES, features)
            backward_block(network, need_x, count, cells, own, patterns, partial, block)
            if need_x:
                grad_x = network.stages[0].gradients.input.start * LANES
                transpose(grad_images, n * size, own, grad_x, size, count, size, LANES)


@kernel_after(_backward_blocks)
def backward(team, network, batch, workspace, tasks, targets, grad_images):
    """Add the gradients of the parameters to the targets, and compute that of the images unless it is empty.

    The gradients are those of the mean cross-entropy of the images' results with the batch's labels, after a forward
    pass here; or, where there are no labels, those that its grad_results give, after one of `forward`.

    Precondition: as for `forward`, with `keep`, whose arena this is; tasks (T, 5) the stage, the first of its output
    features or sums and how many, and likewise the inputs of linear layers, each once. Parallel over tasks, each of
    which owns its part of a gradient, and of the parameter, and sums the blocks in order.
    """
    blocks = ceil_div(images_of(network, batch), LANES)
    for number in prange(team, len(tasks)):
        update_task(network, tasks, number, workspace.arena, workspace.partial, blocks, targets)
