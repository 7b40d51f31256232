"""The mean of every plane, and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import sized_strict_kernel, strict_helper
from fastconv._runtime.launch import prange

BLOCK = 128  # elements; sums of more are added pairwise, those of fewer in eight lanes


@strict_helper
def _sum(a, start, n):
    """The sum of n elements of a flat array from `start` on, in the order of `np.sum`, whose bits it has.

    The error of a pairwise sum grows with the logarithm of n (N. J. Higham, The accuracy of floating point summation,
    1993, section 3).
    """
    if n > BLOCK:
        half = n // 16 * 8
        return _sum(a, start, half) + _sum(a, start + half, n - half)
    # unsigned, so that the lanes become a vector
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    five, six, seven, step = np.uint64(5), np.uint64(6), np.uint64(7), np.uint64(8)
    total, first, last = a.dtype.type(0), np.uint64(start), np.uint64(start + n // 8 * 8)
    if n >= 8:
        s0, s1, s2, s3 = a[first], a[first + one], a[first + two], a[first + three]
        s4, s5, s6, s7 = a[first + four], a[first + five], a[first + six], a[first + seven]
        for i in range(first + step, last, step):
            s0 += a[i]
            s1 += a[i + one]
            s2 += a[i + two]
            s3 += a[i + three]
            s4 += a[i + four]
            s5 += a[i + five]
            s6 += a[i + six]
            s7 += a[i + seven]
        total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for i in range(last, np.uint64(start + n)):
        total += a[i]
    return total


@sized_strict_kernel
def forward(team, x, y):
    """y[n, c] = the mean of the plane x[n, c].

    Precondition: x (N, C, H, W), at least one pixel; y (N, C, 1, 1). Parallel over planes, each of one mean.
    """
    N, C, H, W = x.shape
    size, zero = H * W, x.dtype.type(0)
    # by itself: of a row of assignments Numba's parallel loop wrote to a copy
    planes = x.reshape(-1)
    means = y.reshape(-1)
    for p in prange(team, N * C):
        # added to zero, as by NumPy: the mean of minus zeros is zero
        means[p] = (zero + _sum(planes, p * size, size)) / x.dtype.type(size)


@sized_strict_kernel
def backward(team, grad_x, g):
    """grad_x[n, c] = g[n, c] / (H * W), for each pixel.

    Precondition: grad_x (N, C, H, W), overwritten; g (N, C, 1, 1). Parallel over planes, each of one value.
    """
    N, C, H, W = grad_x.shape
    size = H * W
    planes = grad_x.reshape(-1)
    shares = g.reshape(-1)
    for p in prange(team, N * C):
        share = shares[p] / g.dtype.type(size)
        for i in range(np.uint64(p * size), np.uint64((p + 1) * size)):
            planes[i] = share
