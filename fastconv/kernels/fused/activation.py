"""The activations of a fused network, in place, and their derivatives from the results."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper, linked_helper
from fastconv.kernels.activation import sigmoid, tanh
from fastconv.kernels.fused.records import RELU, SIGMOID, TANH


@helper
def lowest_of(kind, like):
    """The clamp of sums that makes them a ReLU's, in like's precision; -inf for other activations."""
    return like.dtype.type(0 if kind == RELU else -np.inf)


@linked_helper
def activate(kind, a, start, n):
    """a[start : start + n] = activation of it; ReLU has been applied to the sums already."""
    if kind == SIGMOID:
        sigmoid(a, start, n)
    elif kind == TANH:
        tanh(a, start, n)


@linked_helper
def through_activation(kind, g, g0, y, y0, n):
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
