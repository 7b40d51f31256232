"""What a fused network does with a block of LANES interleaved images: layer fusion, stage after stage in the cache.

These are the helpers that the kernels of `network` call where they lie.
"""

from __future__ import annotations

from fastconv._runtime.jit import helper, linked_helper
from fastconv.kernels.elementwise import cross_entropy_row
from fastconv.kernels.fused.argmax_gradients import (
    input_gradient_by_image,
    separate_images,
    weight_gradient_by_image,
    weight_gradient_by_window,
)
from fastconv.kernels.fused.forward import forward_stage
from fastconv.kernels.fused.gradients import input_gradient, output_through_activation, spread, weight_gradient
from fastconv.kernels.fused.parameters import bias_of, weight_of
from fastconv.kernels.fused.records import BY_IMAGE, BY_WINDOW
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.vectors import LANES


@helper
def _interleave(images, n, count, x, arena):
    """Put `count` images from the n-th on into the lanes of the planes x, zeros into the other lanes."""
    size, width = x.C * x.H * x.W, x.W * LANES
    for c in range(x.C):
        for r in range(x.H):
            target = (x.start + c * x.plane + r * x.row) * LANES
            if count < LANES:
                arena[target : target + width] = 0
            transpose(arena, target, images, n * size + (c * x.H + r) * x.W, count, x.W, LANES, size)


@linked_helper
def forward_block(network, images, n, count, arena, scratch):
    """The results of all stages for `count` images from the n-th on, left in the arena, a block's row of it."""
    _interleave(images, n, count, network.stages[0].input, arena)
    for s in range(network.stages.size):
        stage = network.stages[s]
        forward_stage(stage, network.tables, weight_of(stage, network), bias_of(stage, network), arena, scratch)
        if stage.convolution.linear:
            K, samples = stage.convolution.K, stage.gradients.samples * LANES
            transpose(arena, samples, arena, stage.padded.start * LANES, K, LANES, K, LANES)


@linked_helper
def cross_entropies(stage, batch, n, count, arena, scratch):
    """The cross-entropies of `count` images' results, and their mean's gradient, image by image in the scratch."""
    logits, grads, first = stage.loss.logits * LANES, stage.loss.grad * LANES, stage.loss.wanted * LANES
    features = stage.output.C * stage.output.H * stage.output.W
    transpose(scratch, logits, arena, stage.output.start * LANES, features, count, features, LANES)
    wanted = scratch[first : first + features]
    for i in range(count):
        row, label = i * features, batch.labels[n + i]
        wanted[label] = 1
        batch.losses[n + i] = cross_entropy_row(
            scratch[logits + row : logits + row + features], wanted, batch.labels.size,
            scratch[grads + row : grads + row + features],
        )  # fmt: skip
        wanted[label] = 0


@linked_helper
def backward_block(network, need_x, count, arena, scratch, patterns, partial, block):
    """From the last stage's gradient in the scratch to those of all inputs, and the sums for the parameters."""
    tables = network.tables
    for s in range(network.stages.size - 1, -1, -1):
        stage = network.stages[s]
        way, linear, wanted = stage.argmax.way, stage.convolution.linear, s > 0 or need_x
        if not stage.pool.keeps_sums:
            output_through_activation(stage, arena, scratch)
        if way == BY_IMAGE:
            separate_images(stage, tables, arena, scratch)
            weight_gradient_by_image(stage, tables, scratch, partial, block, count)
            if wanted:
                input_gradient_by_image(stage, tables, patterns, scratch, count)
            continue
        sums = arena if linear else scratch
        if wanted or way != BY_WINDOW:
            spread(stage, arena, scratch, sums)
        if way == BY_WINDOW:
            weight_gradient_by_window(stage, arena, scratch, partial, block)
        elif not linear:
            weight_gradient(stage, tables, arena, sums, partial, block)
        if wanted:
            input_gradient(stage, tables, weight_of(stage, network), network.nothing, sums, scratch)
