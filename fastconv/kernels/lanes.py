"""Whole small networks with images side by side: one parallel loop forward, one backward, whatever the layers are.

A cell holds the same number of 16 images, one in each lane of a vector; so every loop of a small network is full of
vectors, whatever the sizes of its planes. A block of 16 images goes through all units of the network in one task, with
its activations in the core's L2 cache. A unit is a convolution or a linear layer (a convolution of one pixel), its
activation and its pooling; `Unit` says where in the arena its planes lie.

The gradients of the parameters are summed over the blocks in order, so they have the same bits for any number of
threads.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from fastconv._addresses import array_at
from fastconv._jit import helper, kernel
from fastconv.kernels.elementwise import cross_entropy_row
from fastconv.kernels.maxima import (
    by_image,
    input_gradient_by_image,
    spread_weights,
    weight_gradient_by_image,
    weight_gradient_by_window,
)
from fastconv.kernels.simd import (
    DOT_ROWS,
    add_dots,
    add_rows,
    copy_rows,
    lane_sum,
    max_windows,
    max_windows_of_sums,
    row_offsets,
    spread_windows,
    transpose,
)
from fastconv.kernels.tiles import LANES

NONE, RELU, SIGMOID, TANH = range(4)
MAX, AVERAGE = 1, 2

# All sizes and places are in cells of the arena, or of the scratch array for what no later call needs.
FIELDS = (
    *("x", "x_row", "x_plane", "channels", "rows", "columns"),  # input: padded planes in the arena
    *("y", "y_row", "y_plane", "out_channels", "y_rows", "y_columns"),  # result, in the next unit's planes
    *("kernel_rows", "kernel_columns", "top", "left"),
    *("sum_rows", "sum_columns"),  # pixels of the convolution, before pooling
    *("activation", "pool", "pool_rows", "pool_columns", "pool_of_sums"),
    *("indices",),  # of the maxima, in the arena; as numbers inside the window
    *("sums", "kept"),  # the sums before pooling: of a band of rows in the scratch, or all kept in the arena
    *("weight", "bias"),  # numbers of the parameters; bias -1: there is none
    *("terms", "back_terms", "back_inputs"),  # places in the tables
    *("grad_y", "grad_sums", "grad_row", "grad_plane", "grad_left", "grad_x"),  # in the scratch
    *("logits", "grad_logits", "wanted"),  # in the scratch, image by image; of the last unit
    *("linear", "samples"),  # a linear layer's input, sample by sample; its grad_sums are in the arena too
    *("parts",),  # where the sums for its weights and bias begin in those of a block
    *("by_window", "window_sums"),  # for `maxima`
    # for `maxima`, where `by_image`: lengths of an image's padded input and of its maxima, in elements; places
    *("by_image", "padded_rows", "image_row", "maxima_row", "maxima", "numbers", "image", "grad_image"),
    *("patch_parts", "patch_width", "patch_sums", "region_parts", "region_width", "region", "patterns"),
    *("corners", "taps", "patch", "patch_places", "region_taps", "region_places", "image_cells", "grad_cells"),
)
Unit = np.dtype([(name, np.int64) for name in FIELDS])


@helper
def _activate(kind, a, start, n):
    """a[start : start + n] = activation of it; ReLU has been applied to the sums already."""
    one = a.dtype.type(1)
    if kind == SIGMOID:
        for i in range(np.uint64(start), np.uint64(start + n)):
            a[i] = one / (one + np.exp(-a[i]))
    elif kind == TANH:
        for i in range(np.uint64(start), np.uint64(start + n)):
            a[i] = np.tanh(a[i])


@helper
def _slope(kind, g, g0, y, y0, n):
    """g[g0 + i] *= the activation's derivative, from its result y[y0 + i], for i < n."""
    zero, one = g.dtype.type(0), g.dtype.type(1)
    g0, y0 = np.uint64(g0), np.uint64(y0)
    if kind == RELU:
        for i in range(np.uint64(n)):
            g[g0 + i] = g[g0 + i] if y[y0 + i] > zero else zero
    elif kind == SIGMOID:
        for i in range(np.uint64(n)):
            g[g0 + i] *= y[y0 + i] * (one - y[y0 + i])
    elif kind == TANH:
        for i in range(np.uint64(n)):
            g[g0 + i] *= one - y[y0 + i] * y[y0 + i]


@helper
def _pool_row(unit, sums, first, plane, py, arena):
    """One row of pooled pixels from rows of sums, of all channels."""
    taps, row = unit.pool_rows * unit.pool_columns, unit.sum_columns * LANES
    share = arena.dtype.type(1) / arena.dtype.type(taps)
    for c in range(unit.out_channels):
        target, source = (unit.y + c * unit.y_plane + py * unit.y_row) * LANES, (first + c * plane) * LANES
        if unit.pool == MAX:
            numbers = (unit.indices + (c * unit.y_rows + py) * unit.y_columns) * LANES
            max_windows(
                arena, target, arena, numbers, sums, source, unit.pool_rows, unit.pool_columns, row, unit.y_columns
            )  # fmt: skip
            continue
        for px in range(unit.y_columns):
            cell, corner = np.uint64(target + px * LANES), source + px * unit.pool_columns * LANES
            for lane in range(np.uint64(LANES)):
                arena[cell + lane] = 0
            for j in range(taps):
                tap = np.uint64(corner + j // unit.pool_columns * row + j % unit.pool_columns * LANES)
                for lane in range(np.uint64(LANES)):
                    arena[cell + lane] += sums[tap + lane] * share


@helper
def _forward_unit(unit, tables, weight, bias, arena, scratch):
    """The result of a unit for the images of a block."""
    K = unit.channels * unit.kernel_rows * unit.kernel_columns
    OC, zero, fresh = unit.out_channels, np.int64(0), np.bool_(True)
    floor = arena.dtype.type(0 if unit.activation == RELU else -np.inf)
    rows, terms, inputs = row_offsets(OC, K), row_offsets(K, np.int64(1)), tables[unit.terms : unit.terms + K]
    width, x_row = unit.sum_columns * LANES, unit.x_row * LANES
    if unit.pool == 0:
        add_rows(
            arena, unit.y * LANES, unit.y_plane * LANES, unit.y_row * LANES, OC, bias, zero, fresh, floor, weight, zero,
            rows, terms, arena, unit.x * LANES, x_row, inputs, unit.sum_rows, width,
        )  # fmt: skip
        for c in range(OC):
            for r in range(unit.sum_rows):
                _activate(unit.activation, arena, (unit.y + c * unit.y_plane + r * unit.y_row) * LANES, width)
        return
    if unit.pool_of_sums:
        pixels = unit.y_rows * unit.y_columns * LANES
        for py in range(unit.y_rows):
            max_windows_of_sums(
                arena, (unit.y + py * unit.y_row) * LANES, unit.y_plane * LANES, arena,
                (unit.indices + py * unit.y_columns) * LANES, pixels, OC, floor, weight, bias, arena,
                (unit.x + 2 * py * unit.x_row) * LANES, x_row, tables, unit.terms, K, unit.y_columns,
            )  # fmt: skip
        return
    sums = arena if unit.kept else scratch
    plane = (unit.sum_rows if unit.kept else unit.pool_rows) * unit.sum_columns
    for py in range(unit.y_rows):
        first = unit.sums + (py * unit.pool_rows * unit.sum_columns if unit.kept else 0)
        add_rows(
            sums, first * LANES, plane * LANES, width, OC, bias, zero, fresh, floor, weight, zero, rows, terms, arena,
            (unit.x + py * unit.pool_rows * unit.x_row) * LANES, x_row, inputs, unit.pool_rows, width,
        )  # fmt: skip
        for c in range(OC):
            _activate(unit.activation, sums, (first + c * plane) * LANES, unit.pool_rows * width)
        _pool_row(unit, sums, first, plane, py, arena)


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
def _slopes(unit, arena, scratch):
    """The gradient of the result of the pooling, times the activation's derivative at the maxima."""
    width = unit.y_columns * LANES
    for c in range(unit.out_channels):
        for r in range(unit.y_rows):
            result = (unit.y + c * unit.y_plane + r * unit.y_row) * LANES
            source = (unit.grad_y + (c * unit.y_rows + r) * unit.y_columns) * LANES
            _slope(unit.activation, scratch, source, arena, result, width)


@helper
def _spread(unit, arena, scratch, sums):
    """The gradient of the sums, zero beside the pixels, from that of the result, which the slopes are in already."""
    OC, width, taps = unit.out_channels, unit.y_columns, unit.pool_rows * unit.pool_columns
    share, zero, one = arena.dtype.type(1) / arena.dtype.type(taps), np.int64(0), np.int64(1)
    for c in range(OC):
        for r in range(unit.y_rows):
            source = (unit.grad_y + (c * unit.y_rows + r) * width) * LANES
            first = unit.grad_sums + c * unit.grad_plane + unit.grad_left
            if unit.pool == 0:
                target = (first + r * unit.grad_row) * LANES
                copy_rows(one, sums, target, zero, scratch, source, zero, one, zero, width * LANES, width * LANES)
                continue
            corner = first + r * unit.pool_rows * unit.grad_row
            if unit.pool == MAX:
                numbers = (unit.indices + (c * unit.y_rows + r) * width) * LANES
                spread_windows(
                    sums, corner * LANES, scratch, source, arena, numbers, unit.pool_rows, unit.pool_columns,
                    unit.grad_row * LANES, width,
                )  # fmt: skip
                continue
            for j in range(taps):
                tap = corner + j // unit.pool_columns * unit.grad_row + j % unit.pool_columns
                for px in range(width):
                    g, target = np.uint64(source + px * LANES), np.uint64((tap + px * unit.pool_columns) * LANES)
                    for lane in range(np.uint64(LANES)):
                        sums[target + lane] = scratch[g + lane] * share
        if unit.kept:
            for r in range(unit.sum_rows):
                target = (unit.grad_sums + c * unit.grad_plane + r * unit.grad_row + unit.grad_left) * LANES
                result = (unit.sums + (c * unit.sum_rows + r) * unit.sum_columns) * LANES
                _slope(unit.activation, sums, target, arena, result, unit.sum_columns * LANES)


@helper
def _weight_gradient(unit, tables, arena, sums, parts, part):
    """The gradients of a convolution's weights and bias, summed over the images of a block."""
    K = unit.channels * unit.kernel_rows * unit.kernel_columns
    OC, first, width = unit.out_channels, unit.grad_sums + unit.grad_left, unit.sum_columns * LANES
    dots = np.empty((DOT_ROWS, 4, LANES), arena.dtype)
    for oc in range(0, OC, DOT_ROWS):
        rows = min(DOT_ROWS, OC - oc)
        for k in range(0, K, 4):  # past the last tap, that tap again
            b0, b1 = np.int64(tables[unit.terms + k]), np.int64(tables[unit.terms + min(k + 1, K - 1)])
            b2, b3 = np.int64(tables[unit.terms + min(k + 2, K - 1)]), np.int64(tables[unit.terms + min(k + 3, K - 1)])
            x = unit.x * LANES
            dots[:] = 0
            add_dots(
                dots, rows, sums, (first + oc * unit.grad_plane) * LANES, unit.grad_plane * LANES,
                unit.grad_row * LANES, arena, x + b0, x + b1, x + b2, x + b3, unit.x_row * LANES, unit.sum_rows, width,
            )  # fmt: skip
            for i in range(rows):
                for j in range(min(4, K - k)):
                    parts[part, unit.parts + (oc + i) * K + k + j] = lane_sum(dots, i, j)
    for c in range(OC):
        total = arena.dtype.type(0)
        begin = (unit.grad_sums + c * unit.grad_plane) * LANES
        for i in range(np.uint64(begin), np.uint64(begin + unit.grad_plane * LANES)):
            total += sums[i]
        parts[part, unit.parts + OC * K + c] = total


@helper
def _input_gradient(unit, tables, weight, nothing, sums, scratch):
    """The gradient of a unit's input: for each of its rows, the taps that reach it."""
    C, H, W, OC = unit.channels, unit.rows, unit.columns, unit.out_channels
    taps, zero, one = OC * unit.kernel_columns, np.int64(0), np.int64(1)
    lowest = scratch.dtype.type(-np.inf)
    rows = row_offsets(C, unit.kernel_rows * unit.kernel_columns)
    for r in range(H):
        bottom = r + unit.top
        first = max(0, bottom - unit.sum_rows + 1) * taps
        last = max(first, min(unit.kernel_rows - 1, bottom) * taps + taps)
        add_rows(
            scratch, (unit.grad_x + r * W) * LANES, H * W * LANES, zero, C, nothing, zero, np.bool_(True), lowest,
            weight, zero, rows, tables[unit.back_terms + first : unit.back_terms + last], sums,
            (unit.grad_sums + bottom * unit.grad_row) * LANES, zero,
            tables[unit.back_inputs + first : unit.back_inputs + last], one, W * LANES,
        )  # fmt: skip


@helper
def _sizes(units):
    """The elements of an image, and those of its result."""
    first, last = units[0], units[units.size - 1]
    return first.channels * first.rows * first.columns, last.out_channels * last.y_rows * last.y_columns


@helper
def _forward_block(units, tables, values, nothing, images, n, count, cells, own):
    """The results of all units for `count` images from the n-th on, left in the arena's row `cells`."""
    _load(images, n, count, units[0], cells)
    for u in range(units.size):
        unit = units[u]
        K = unit.channels * unit.kernel_rows * unit.kernel_columns
        weight = array_at(values[unit.weight], unit.out_channels * K, nothing)
        bias = array_at(values[unit.bias], unit.out_channels, nothing) if unit.bias >= 0 else nothing
        _forward_unit(unit, tables, weight, bias, cells, own)
        if unit.linear:
            transpose(cells, unit.samples * LANES, cells, unit.x * LANES, K, LANES, K, LANES)


@kernel
def forward(units, tables, values, nothing, images, keep, arena, scratch, results):
    """The results of a network's units, one after another, for blocks of LANES images.

    Precondition: units (U,) of `Unit`; tables uint64; values (parameters,) addresses of flat arrays of the images'
    dtype; nothing zeros, as many as a unit has channels or features at most; images (N, ...) and results (N, ...) flat;
    arena (blocks, or at least a row for each thread unless `keep`; cells * LANES), zero where nothing is ever written;
    scratch (threads, cells * LANES). Parallel over blocks, each of which owns its row of the arena where `keep`.
    """
    size, features = _sizes(units)
    N = images.size // size
    for block in prange(-(-N // LANES)):
        thread = np.int64(numba.get_thread_id())
        cells, own = arena[np.int64(block) if keep else thread], scratch[thread]
        n = np.int64(block) * LANES
        count = min(LANES, N - n)
        _forward_block(units, tables, values, nothing, images, n, count, cells, own)
        last = units[units.size - 1]
        transpose(results, n * features, cells, last.y * LANES, features, count, features, LANES)


@helper
def _entropies(last, features, labels, n, count, cells, own, losses):
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
def _backward_block(units, tables, values, nothing, need_x, count, cells, own, patterns, parts, part):
    """From the last unit's gradient in the scratch to those of all inputs, and the sums for the parameters."""
    for u in range(units.size - 1, -1, -1):
        unit = units[u]
        K = unit.channels * unit.kernel_rows * unit.kernel_columns
        wanted = u > 0 or need_x
        if not unit.kept:
            _slopes(unit, cells, own)
        if unit.by_image:
            by_image(unit, tables, cells, own)
            weight_gradient_by_image(unit, tables, own, parts, part, count)
            if wanted:
                input_gradient_by_image(unit, tables, patterns, own, count)
            continue
        sums = cells if unit.linear else own
        if wanted or not unit.by_window:
            _spread(unit, cells, own, sums)
        if unit.by_window:
            weight_gradient_by_window(unit, cells, own, parts, part)
        elif not unit.linear:
            _weight_gradient(unit, tables, cells, sums, parts, part)
        if wanted:
            weight = array_at(values[unit.weight], unit.out_channels * K, nothing)
            _input_gradient(unit, tables, weight, nothing, sums, own)


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
            grad, first * K, K, zero, count, nothing, zero, fresh_weight, lowest, flat, (unit.grad_sums + first) * LANES,
            rows, terms, flat, unit.samples * LANES, zero, samples, one, K,
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


@kernel
def backward(
    units, tables, values, nothing, images, labels, losses, grad_results, arena, scratch, patterns, parts, tasks, grads,
    fresh, grad_images,
):  # fmt: skip
    """Add the gradients of the parameters to `grads`, and compute that of the images unless `grad_images` is empty.

    The gradients are those of the mean cross-entropy of the images' results with `labels`, after a forward pass here;
    or, where there are no labels, those that grad_results gives, after one of `forward`.

    Precondition: as for `forward`, with `keep`, whose arena this is; labels (N,) or empty; losses of each image,
    float64; patterns, zeros at first, for shifted weights; parts (blocks, sums of a block); tasks (T, 3) the unit, the
    first of its output features or sums, and how many, each once; grads (parameters,) addresses, 0 where no gradient is
    wanted; fresh (parameters,) whether what is there does not count. Parallel over blocks, each of which owns its rows
    of arena and parts, and then over tasks, each of which owns its part of a gradient and sums the blocks in order.
    """
    size, features = _sizes(units)
    need_x, learning = grad_images.size > 0, labels.size > 0
    N = labels.size if learning else grad_results.size // features
    blocks = -(-N // LANES)
    for u in range(units.size):
        unit = units[u]
        if unit.by_image and (u > 0 or need_x):
            size_of_weight = unit.out_channels * unit.channels * unit.kernel_rows * unit.kernel_columns
            spread_weights(unit, tables, array_at(values[unit.weight], size_of_weight, nothing), patterns)
    for block in prange(blocks):
        cells, own = arena[block], scratch[np.int64(numba.get_thread_id())]
        n = np.int64(block) * LANES
        count = min(LANES, N - n)
        last = units[units.size - 1]
        if count < LANES:
            own[last.grad_y * LANES : (last.grad_y + features) * LANES] = 0
        if learning:
            _forward_block(units, tables, values, nothing, images, n, count, cells, own)
            _entropies(last, features, labels, n, count, cells, own, losses)
            transpose(own, last.grad_y * LANES, own, last.grad_logits * LANES, count, features, LANES, features)
        else:
            transpose(own, last.grad_y * LANES, grad_results, n * features, count, features, LANES, features)
        _backward_block(units, tables, values, nothing, need_x, count, cells, own, patterns, parts, np.int64(block))
        if need_x:
            transpose(grad_images, n * size, own, units[0].grad_x * LANES, size, count, size, LANES)
    for task in prange(tasks.shape[0]):
        unit, first, count = units[tasks[task, 0]], tasks[task, 1], tasks[task, 2]
        weight_at, fresh_weight = grads[unit.weight], fresh[unit.weight]
        bias_at, fresh_bias = (grads[unit.bias], fresh[unit.bias]) if unit.bias >= 0 else (np.int64(0), np.bool_(False))
        if unit.linear:
            _add_products(unit, first, count, nothing, arena, blocks, weight_at, fresh_weight, bias_at, fresh_bias)
        else:
            _add_parts(unit, first, count, nothing, parts, blocks, weight_at, fresh_weight, bias_at, fresh_bias)
