"""Whole small networks with images side by side: one parallel loop forward, one backward, whatever the layers are.

A cell holds the same number of 16 images, one in each lane of a vector; so every loop of a small network is full of
vectors, whatever the sizes of its planes. A block of 16 images goes through all units of the network (see `units`) in
one task, with its activations in the core's L2 cache.

The gradients of the parameters are summed over the blocks in order, so they have the same bits for any number of
threads.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import prange, types

from fastconv._runtime.calls import address_of, call_at
from fastconv._runtime.jit import kernel
from fastconv._runtime.pointers import array_at
from fastconv.kernels.fused.argmax_gradients import spread_weights
from fastconv.kernels.fused.block import backward_block, entropies, forward_block, task
from fastconv.kernels.fused.stage import Unit, sizes
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.vectors import LANES


@functools.cache
def entries_of(dtype: np.dtype, gradients: bool) -> np.ndarray:
    """Where the helpers lie that take a block forward and, for `gradients`, backward, and sum over the blocks."""
    number, integer, boolean = numba.from_dtype(dtype), types.int64, types.boolean
    flat, rows = types.Array(number, 1, "C"), types.Array(number, 2, "C")
    units, tables, addresses, flags, tasks = (
        types.Array(kind, ndim, "C", aligned=kind != numba.from_dtype(Unit))
        for kind, ndim in ((numba.from_dtype(Unit), 1), (types.uint64, 1), (integer, 1), (boolean, 1), (integer, 2))
    )
    network = units, tables, addresses, flat
    found = [address_of(forward_block, *network, flat, integer, integer, flat, flat)]
    if gradients:
        found += [
            address_of(backward_block, *network, boolean, integer, flat, flat, flat, rows, integer),
            address_of(
                task, units, tasks, integer, addresses, flat, rows, rows, integer, addresses, flags, addresses, flat
            ),
        ]
    return np.array(found, np.int64)


@kernel
def forward(entries, units, tables, values, nothing, images, keep, arena, scratch, results):
    """The results of a network's units, one after another, for blocks of LANES images.

    Precondition: entries of the images' dtype; units (U,) of `Unit`; tables uint64; values (parameters,) addresses of
    flat arrays of that dtype; nothing zeros, as many as a unit has channels or features at most; images (N, ...) and
    results (N, ...) flat;
    arena (blocks, or workers unless `keep`; cells * LANES) or more rows, zero where nothing is ever written; scratch
    (workers, cells * LANES). Parallel over workers, each of which takes successive blocks and owns its rows of both.
    """
    size, features = sizes(units)
    N = images.size // size
    blocks = -(-N // LANES)
    workers = min(len(scratch), blocks)
    for share in prange(workers):
        worker = np.int64(share)
        own = scratch[worker]
        for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
            cells = arena[block if keep else worker]
            n = block * LANES
            count = min(LANES, N - n)
            call_at(entries[0], (units, tables, values, nothing, images, n, count, cells, own))
            last = units[units.size - 1]
            transpose(results, n * features, cells, last.y * LANES, features, count, features, LANES)


@kernel
def backward(
    entries, units, tables, values, nothing, images, labels, losses, grad_results, arena, scratch, patterns, parts,
    tasks, grads, fresh, velocities, numbers, grad_images,
):  # fmt: skip
    """Add the gradients of the parameters to `grads`, and compute that of the images unless `grad_images` is empty.

    The gradients are those of the mean cross-entropy of the images' results with `labels`, after a forward pass here;
    or, where there are no labels, those that grad_results gives, after one of `forward`.

    Precondition: as for `forward`, with `keep`, whose arena this is; labels (N,) or empty; losses of each image,
    float64; patterns, zeros at first, for shifted weights; parts (blocks, sums of a block); tasks (T, 3) the unit, the
    first of its output features or sums, and how many, each once; grads (parameters,) addresses, 0 where no gradient is
    wanted; fresh (parameters,) whether what is there does not count; velocities (parameters,) addresses, and numbers
    for `elementwise.sgd_part`, for a step of SGD as well, or none. Parallel over workers, each of which takes
    successive blocks and owns their rows of arena and parts, and its row of the scratch; and then over tasks, each of
    which owns its part of a gradient, and of the parameter, and sums the blocks in order.
    """
    size, features = sizes(units)
    need_x, learning = grad_images.size > 0, labels.size > 0
    N = labels.size if learning else grad_results.size // features
    blocks = -(-N // LANES)
    for u in range(units.size):
        unit = units[u]
        if unit.by_image and (u > 0 or need_x):
            size_of_weight = unit.out_channels * unit.channels * unit.kernel_rows * unit.kernel_columns
            spread_weights(unit, tables, array_at(values[unit.weight], size_of_weight, nothing), patterns)
    workers = min(len(scratch), blocks)
    for share in prange(workers):
        worker = np.int64(share)
        own = scratch[worker]
        for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
            cells, n = arena[block], block * LANES
            count = min(LANES, N - n)
            last = units[units.size - 1]
            if count < LANES:
                own[last.grad_y * LANES : (last.grad_y + features) * LANES] = 0
            if learning:
                call_at(entries[0], (units, tables, values, nothing, images, n, count, cells, own))
                entropies(last, features, labels, n, count, cells, own, losses)
                transpose(own, last.grad_y * LANES, own, last.grad_logits * LANES, count, features, LANES, features)
            else:
                transpose(own, last.grad_y * LANES, grad_results, n * features, count, features, LANES, features)
            call_at(
                entries[1], (units, tables, values, nothing, need_x, count, cells, own, patterns, parts, block)
            )  # fmt: skip
            if need_x:
                transpose(grad_images, n * size, own, units[0].grad_x * LANES, size, count, size, LANES)
    for number in prange(tasks.shape[0]):
        call_at(
            entries[2],
            (units, tasks, np.int64(number), values, nothing, arena, parts, blocks, grads, fresh, velocities, numbers),
        )
