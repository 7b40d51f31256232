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
def whole_sigmoid(x):
    """sigmoid(x), of an array of any shape; here and below for jitted code, and contiguous."""
    y = np.empty(x.shape, x.dtype)
    flat, values = y.reshape(-1), x.reshape(-1)
    for i in range(x.size):
        flat[i] = values[i]
    sigmoid(flat, 0, x.size)
    return y


@linked
def sigmoid_backward(g, y):
    """g * y * (1 - y)."""
    grad_x, one = np.empty(g.shape, g.dtype), g.dtype.type(1)
    flat, gs, ys = grad_x.reshape(-1), g.reshape(-1), y.reshape(-1)
    for i in range(g.size):
        flat[i] = gs[i] * (ys[i] * (one - ys[i]))
    return grad_x


@linked
def whole_tanh(x):
    """tanh(x)."""
    y = np.empty(x.shape, x.dtype)
    flat, values = y.reshape(-1), x.reshape(-1)
    for i in range(x.size):
        flat[i] = values[i]
    tanh(flat, 0, x.size)
    return y


@linked
def tanh_backward(g, y):
    """g * (1 - y**2)."""
    grad_x, one = np.empty(g.shape, g.dtype), g.dtype.type(1)
    flat, gs, ys = grad_x.reshape(-1), g.reshape(-1), y.reshape(-1)
    for i in range(g.size):
        flat[i] = gs[i] * (one - ys[i] * ys[i])
    return grad_x
