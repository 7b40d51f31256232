"""How work is shared: parts of a size, tasks for threads, blocks of channels as wide as a tile; memory for a block."""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from fastconv._geometry.partition import even_part
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import inlined
from fastconv.kernels.micro.vectors import VECTOR_BYTES

CHAIN = 112  # terms that may be summed one after another, however many there are in all: see `chain_of`
BLOCK = 4 * CHAIN  # elements that are summed at once, in at least four lanes


@inlined
def term_part(terms, part):
    """As `even_part`, of terms that are summed one after another in each part: of more than CHAIN there are two."""
    return min(even_part(terms, part), max(CHAIN, ceil_div(terms, 2)))


@inlined
def chain_of(terms):
    """How many of a sum's terms are summed one after another, before their sum is added to that of others.

    The sum of a constant drifts, since each addition rounds the same way: by up to a quarter of the number of additions
    in halves of its last place. Of n terms it may be 8 + 2 * sqrt(n), so blocks may be as long as 8 * sqrt(n).
    """
    if terms <= CHAIN:
        return max(terms, 1)
    return ceil_div(terms, math.ceil(terms / (20 + 8 * math.sqrt(terms))))


@register_jitable
def steps_between(steps):
    """After how many of `steps` sums, added one after another, they are set aside: few stay within `chain_of`."""
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
