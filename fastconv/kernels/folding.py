"""Whether weights are those of an earlier call; a normalisation taken into those of the convolution before it."""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import sized_strict_kernel
from fastconv._runtime.launch import prange

BLOCK = 4096  # numbers that are compared before a difference is noticed


@sized_strict_kernel
def equal(team, a, b) -> bool:
    """Whether two flat arrays of integers of one size hold the same numbers. Parallel over blocks."""
    same, blocks = True, ceil_div(a.size, BLOCK)
    for block in prange(team, blocks):
        others = 0
        for i in range(np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, a.size))):
            others += a[i] != b[i]
        same = others == 0
        if not same:
            break
    return same


@sized_strict_kernel
def unchanged(team, weight, numbers, kept_weight, kept) -> bool:
    """Whether a convolution's weights and the numbers of its normalisation are those that were kept; NaN never is.

    Precondition: weight and kept_weight (C, K); numbers, five of (C,), and kept (5, C), all of one dtype. Parallel over
    C.
    """
    bias, mean, var, factor, shift = numbers
    same = True
    for c in prange(team, len(weight)):
        same = same and bias[c] == kept[0, c] and mean[c] == kept[1, c] and var[c] == kept[2, c]
        same = same and factor[c] == kept[3, c] and shift[c] == kept[4, c]
        if not same:
            break
        others = 0
        for k in range(weight.shape[1]):
            others += weight[c, k] != kept_weight[c, k]
        same = others == 0
    return same


@sized_strict_kernel
def fold(team, weight, numbers, eps, folded, bias) -> bool:
    """folded and bias = a convolution's weights and bias with the normalisation taken in; whether all are finite.

    Precondition: weight and folded (C, K), bias (C,), numbers (5, C): bias, mean, variance, factor and shift; all of
    one dtype. Parallel over C.
    """
    zero, good = bias.dtype.type(0), True
    for c in prange(team, len(weight)):
        slope = numbers[3, c] / np.sqrt(np.float64(numbers[2, c]) + eps)
        bias[c] = (np.float64(numbers[0, c]) - numbers[1, c]) * slope + numbers[4, c]
        total = bias[c] * zero
        for k in range(weight.shape[1]):
            folded[c, k] = weight[c, k] * slope
            total += folded[c, k] * zero
        good = good and total == zero  # zero times what is not finite is NaN
    return good
