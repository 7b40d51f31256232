"""Loops over single elements: ReLU, and the update rules of the optimisers."""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import strict_kernel


@strict_kernel
def relu(x, y):
    """Y = x where x > 0 or x is NaN, else 0. Precondition: flat arrays. Parallel over elements."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@strict_kernel
def relu_backward(g, y, grad_x):
    """grad_x = g where y > 0, else 0. Precondition: flat arrays. Parallel over elements."""
    zero = g.dtype.type(0)
    for i in prange(g.size):
        grad_x[i] = g[i] if y[i] > zero else zero


@strict_kernel
def sgd(value, grad, velocity, lr, momentum, nesterov, weight_decay):
    """One step of SGD with momentum, in place.

    Precondition: flat arrays, floats of their dtype. Parallel over elements.
    """
    for i in prange(value.size):
        g = grad[i] + weight_decay * value[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        value[i] -= lr * (g + momentum * v if nesterov else v)


@strict_kernel
def adam(value, grad, m, v, lr, beta1, beta2, eps, weight_decay, scale1, scale2):
    """One step of Adam, in place; scale1 and scale2 are 1 - beta**step. Precondition and axis as for `sgd`."""
    one = value.dtype.type(1)
    for i in prange(value.size):
        g = grad[i] + weight_decay * value[i]
        m[i] = beta1 * m[i] + (one - beta1) * g
        v[i] = beta2 * v[i] + (one - beta2) * g * g
        value[i] -= lr * (m[i] / scale1) / (np.sqrt(v[i] / scale2) + eps)
