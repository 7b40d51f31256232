"""How work is shared: parts of a size, tasks for threads, blocks of channels as wide as a tile; memory for a block."""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from fastconv._runtime.jit import inlined
from fastconv.kernels.micro.vectors import VECTOR_BYTES, WIDEST

CHAIN = 112  # terms that may be summed one after another, however many there are in all: see `chain_of`
BLOCK = 4 * CHAIN  # elements that are summed at once, in at least four lanes
TASKS = 20  # from so many tasks on it does not matter whether threads can share them evenly


@inlined
def even_part(size, part):
    """The length of equal parts of `size`, the nearest number of them to parts of length `part`; at least 1."""
    parts = max(1, (size + part // 2) // part)
    return max(1, -(-size // parts))


@inlined
def term_part(terms, part):
    """As `even_part`, of terms that are summed one after another in each part: of more than CHAIN there are two."""
    return min(even_part(terms, part), max(CHAIN, -(-terms // 2)))


@inlined
def chain_of(terms):
    """How many of so many terms are summed one after another, before their sum is added to that of others.

    The sum of a constant drifts, since each addition rounds the same way: by up to a quarter of the number of additions
    in halves of its last place. Of n terms it may be 8 + 2 * sqrt(n), so blocks may be as long as 8 * sqrt(n).
    """
    if terms <= CHAIN:
        return max(terms, 1)
    return -(-terms // np.int64(math.ceil(terms / (20 + 8 * math.sqrt(terms)))))


@inlined
def even_parts(tasks, parts, most, threads):
    """Into how many parts each of so many tasks is cut: `parts`, or more where threads would share them unevenly."""
    while tasks * parts < TASKS and tasks * parts % threads and parts < most:
        parts += 1
    return parts


@register_jitable
def tile_blocks(channels, lanes):
    """How many blocks of channels, each at most as wide as a tile, and the width of the widest: whole vectors.

    Python may call it too.
    """
    return -(-channels // (WIDEST * lanes)), min(WIDEST, -(-channels // lanes)) * lanes


@inlined
def block_begin(channels, blocks, block, lanes):
    """The first channel of a block: whole vectors, evenly shared."""
    return min(-(-channels // lanes) * block // blocks * lanes, channels)


@register_jitable
def steps_between(steps):
    """After how many of so many sums, added one after another, they are set aside: few stay within `chain_of`."""
    return max(64, np.int64(math.ceil(math.sqrt(steps))))


@inlined
def set_aside(totals, sums):
    """Add sums to totals, flat arrays of one size: for what is too much to add up in one row."""
    for i in range(np.uint64(totals.size)):
        totals[i] += sums[i]


@inlined
def block_sum(a, start, n):
    """The sum of a[start : start + n] of a flat array, as float64: of blocks short enough for its own precision."""
    total = 0.0
    for first in range(start, start + n, BLOCK):
        part = a.dtype.type(0)
        for i in range(np.uint64(first), np.uint64(min(first + BLOCK, start + n))):
            part += a[i]
        total += part
    return total


@inlined
def aligned(size, dtype):
    """An array (size,) of floats that begins with a vector's alignment; one across cache lines is loaded half as fast.

    Measured: 0.75 against 0.9 of the peak, for products with a vector from beyond the L1 cache.
    """
    scratch = np.empty(size + VECTOR_BYTES // 4, dtype)
    start = -scratch.ctypes.data % VECTOR_BYTES // scratch.itemsize
    return scratch[start : start + size]
