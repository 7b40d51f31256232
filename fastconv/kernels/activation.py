"""Sigmoid and tanh for compiled code: NumPy's loops, and so the bits of `functional.sigmoid` and `functional.tanh`."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import linked, strict_helper
from fastconv._runtime.numpy_loops import STACK_SIZE, exp, stack_array
from fastconv._runtime.numpy_loops import tanh as tanh  # what fused networks call by this name


@strict_helper
def sigmoid(a, start, n):
    """a[start : start + n] = 1 / (1 + exp(-a)) of it, as 1 / (1 + e) or e / (1 + e) for e = exp(-|a|), at most 1.

    Precondition: flat and contiguous, float32 or float64.
    """
    one, small = a.dtype.type(1), stack_array(a)
    for first in range(start, start + n, STACK_SIZE):
        part, count = np.uint64(first), min(STACK_SIZE, start + n - first)
        for i in range(np.uint64(count)):
            small[i] = -abs(a[part + i])
        exp(small, 0, count)
        for i in range(np.uint64(count)):
            a[part + i] = (one if a[part + i] >= 0 else small[i]) / (one + small[i])


@linked
def sigmoid_forward(x, y) -> None:
    """y = sigmoid(x). Precondition, here and below: flat arrays of one type, float32 or float64."""
    for i in range(x.size):
        y[i] = x[i]
    sigmoid(y, 0, y.size)


@linked
def sigmoid_backward(g, y, grad_x) -> None:
    """grad_x = g * y * (1 - y)."""
    one = g.dtype.type(1)
    for i in range(g.size):
        grad_x[i] = g[i] * (y[i] * (one - y[i]))


@linked
def tanh_forward(x, y) -> None:
    """y = tanh(x)."""
    for i in range(x.size):
        y[i] = x[i]
    tanh(y, 0, y.size)


@linked
def tanh_backward(g, y, grad_x) -> None:
    """grad_x = g * (1 - y**2)."""
    one = g.dtype.type(1)
    for i in range(g.size):
        grad_x[i] = g[i] * (one - y[i] * y[i])
