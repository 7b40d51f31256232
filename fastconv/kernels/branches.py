"""Sums of the branches of a residual connection, in place, with the activation behind them and its gradient's gate."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import sized_kernel, sized_strict_kernel
from fastconv._runtime.launch import prange


@sized_strict_kernel
def add_passing(team, target, g, result, bounds):
    """Add g to target where the result lies between the bounds.

    Precondition: flat arrays of one size; bounds (2,). Parallel over elements.
    """
    least, most, zero = bounds[0], bounds[1], g.dtype.type(0)
    for element in prange(team, target.size):
        i = np.uint64(element)
        target[i] += g[i] if least < result[i] < most else zero


@sized_strict_kernel
def add_within(team, target, side, bounds):
    """target = target + side, within the bounds, NaN where the sum is NaN.

    Precondition: flat arrays of one size; bounds (2,). Parallel over elements.
    """
    least, most = bounds[0], bounds[1]
    for element in prange(team, target.size):
        i = np.uint64(element)
        value = target[i] + side[i]
        target[i] = least if value <= least else most if value >= most else value


@sized_kernel
def add(team, target, side):
    """target += side. Precondition: flat arrays of one size. Parallel over elements."""
    for element in prange(team, target.size):
        i = np.uint64(element)
        target[i] += side[i]
