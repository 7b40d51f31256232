"""Argmax-sparse gradients: of a convolution that is max-pooled, from the pixels that were the maxima of their windows.

Three quarters of the pixels have no gradient where windows are 2 x 2, and which ones differs from image to image. Where
rows of patches are long enough for vectors, images are not interleaved here: each image's channels come last, and a
vector is a piece of a row of its patches. Elsewhere the images stay interleaved, and a gradient is put in its place in
registers alone.

Source: K. Chellapilla et al., High performance convolutional neural networks for document processing (2006), section 3,
for patches as rows; that maxima alone have gradients is the definition of max-pooling.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper, linked_helper
from fastconv.kernels.blocking import CHAIN, block_sum
from fastconv.kernels.micro.argmax import as_integers
from fastconv.kernels.micro.argmax_drivers import (
    add_block,
    add_patches,
    add_windows,
    gather,
    scatter,
    sum_patterns,
)
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.vectors import LANES, VECTOR_BYTES


@linked_helper
def shift_weights(stage, tables, weight, patterns):
    """The weights as patches with the channels last, shifted in zeros to each pixel of a window."""
    regions, K, OC = stage.argmax.regions, stage.convolution.K, stage.sums.C
    length = regions.width * regions.parts * (VECTOR_BYTES // weight.itemsize)
    for window in range(4):
        shift = np.int64(tables[regions.windows + window])
        for oc in range(OC):
            first = regions.patterns * LANES + (window * OC + oc) * length + shift
            for k in range(np.uint64(K)):
                place = np.uint64(first) + tables[np.uint64(regions.weights) + k]
                patterns[place] = weight[np.uint64(oc * K) + k]


@linked_helper
def separate_images(stage, tables, arena, scratch):
    """Put the gradients of the maxima, their numbers and the input into the scratch image by image, channels last."""
    images, g = stage.argmax.images, stage.gradients.output
    pixels, length = g.C * g.H * g.W, images.maxima_length
    transpose(scratch, images.maxima * LANES, scratch, g.start * LANES, pixels, LANES, length, LANES)
    # as floats, which moves the same bits
    transpose(scratch, images.argmax * LANES, arena, stage.pool.argmax * LANES, pixels, LANES, length, LANES)
    cells = images.rows * images.row
    gather(scratch, images.input * LANES, images.length, arena, stage.padded.start * LANES, tables, images.cells, cells)


@helper
def _bias_gradient(stage, scratch, partial, block):
    """The gradients of a convolution's bias, summed over the images of a block: of all maxima."""
    g = stage.gradients.output
    first, pixels = stage.gradients.partial + g.C * stage.convolution.K, g.H * g.W * LANES
    for oc in range(g.C):
        partial[block, first + oc] = block_sum(scratch, g.start * LANES + oc * pixels, pixels)


@linked_helper
def weight_gradient_by_window(stage, arena, scratch, partial, block):
    """The gradients of a convolution's weights and bias, summed over the images of a block, which stay interleaved."""
    x, g, side, argmax = stage.padded, stage.gradients.output, stage.convolution.KH, as_integers(arena)
    sums, x_row, taps = stage.argmax.window_sums * LANES, x.row * LANES, side * side
    scratch[sums : sums + g.C * x.C * taps * LANES] = 0
    for py in range(g.H):  # so that rows of the input stay in the L1 cache
        for c in range(x.C):
            corner = (x.start + c * x.plane) * LANES + 2 * py * x_row
            for oc in range(g.C):
                maxima, to = (oc * g.H + py) * g.W, sums + (oc * x.C + c) * taps * LANES
                source, numbers = (g.start + maxima) * LANES, (stage.pool.argmax + maxima) * LANES
                add_windows(side, scratch, to, scratch, source, argmax, numbers, arena, corner, x_row, g.W)
    for k in range(np.uint64(g.C * x.C * taps)):
        total = scratch.dtype.type(0)
        first = np.uint64(sums) + k * np.uint64(LANES)
        for i in range(first, first + np.uint64(LANES)):
            total += scratch[i]
        partial[block, np.uint64(stage.gradients.partial) + k] = total
    _bias_gradient(stage, scratch, partial, block)


@linked_helper
def weight_gradient_by_image(stage, tables, scratch, partial, block, count):
    """The gradients of a convolution's weights and bias, summed over `count` images, after `separate_images`."""
    images, patches, g = stage.argmax.images, stage.argmax.patches, stage.gradients.output
    K, pixels, part = stage.convolution.K, g.H * g.W, patches.width * (VECTOR_BYTES // scratch.itemsize)
    sums, length, argmax = patches.sums * LANES, patches.parts * part, as_integers(scratch)
    scratch[sums : sums + g.C * length] = 0
    for image in range(count):
        x = images.input * LANES + image * images.length
        for oc in range(g.C):
            maxima = image * images.maxima_length + oc * pixels
            for p in range(patches.parts):
                for first in range(0, pixels, CHAIN):
                    add_patches(
                        scratch, sums + oc * length + p * part, p, patches, argmax, images, maxima, first, x, tables,
                        min(CHAIN, pixels - first),
                    )  # fmt: skip
    for oc in range(g.C):
        for k in range(np.uint64(K)):
            place = np.uint64(sums + oc * length) + tables[np.uint64(patches.weights) + k]
            partial[block, np.uint64(stage.gradients.partial + oc * K) + k] = scratch[place]
    _bias_gradient(stage, scratch, partial, block)


@linked_helper
def input_gradient_by_image(stage, tables, patterns, scratch, count):
    """The gradient of a stage's input for `count` images, after `separate_images` and `shift_weights`."""
    images, regions, g, C = stage.argmax.images, stage.argmax.regions, stage.gradients.output, stage.padded.C
    pixels, part = g.H * g.W, regions.width * (VECTOR_BYTES // scratch.itemsize)
    rows, row = stage.convolution.KH + 1, (stage.convolution.KW + 1) * C
    sums, grads, argmax = regions.sums * LANES, images.grad_input * LANES, as_integers(scratch)
    scratch[grads : grads + LANES * images.length] = 0
    for image in range(count):
        maxima, target = image * images.maxima_length, grads + image * images.length
        for pixel in range(pixels):
            corner = target + np.int64(tables[images.corners + pixel])
            for oc in range(0, g.C, CHAIN):
                for p in range(regions.parts):
                    sum_patterns(
                        scratch, sums + p * part, p, regions, argmax, images, maxima + pixel + oc * pixels, pixels,
                        patterns, oc, g.C, min(CHAIN, g.C - oc),
                    )  # fmt: skip
                add_block(scratch, corner, images.row, scratch, sums, row, rows, row)
    cells = images.rows * images.row
    scatter(
        scratch, stage.gradients.input.start * LANES, tables, images.grad_cells, scratch, grads, images.length, cells
    )
