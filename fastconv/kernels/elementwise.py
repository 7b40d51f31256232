"""Loops over single elements or rows: rectifiers, softmax cross-entropy, and the update rules of the optimisers.

Indices are unsigned, as in `simd.py`.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import strict_kernel


@strict_kernel
def relu(x, y):
    """Y = x where x > 0 or x is NaN, else 0. Precondition: flat arrays. Parallel over elements."""
    zero = x.dtype.type(0)
    for element in prange(x.size):
        i = np.uint64(element)
        y[i] = zero if x[i] <= zero else x[i]


@strict_kernel
def relu_backward(g, y, grad_x):
    """grad_x = g where y > 0, else 0. Precondition: flat arrays. Parallel over elements."""
    zero = g.dtype.type(0)
    for element in prange(g.size):
        i = np.uint64(element)
        grad_x[i] = g[i] if y[i] > zero else zero


@strict_kernel
def leak(x, a, slope, y):
    """Y = a where x > 0, else slope * a: leaky ReLU for a = x, its gradient for a = that of the result.

    Precondition: flat arrays, slope of their dtype. Parallel over elements.
    """
    zero = x.dtype.type(0)
    for element in prange(x.size):
        i = np.uint64(element)
        y[i] = a[i] if x[i] > zero else slope * a[i]


@strict_kernel
def cross_entropy(logits, weights, losses, grad):
    """losses[n] = -sum over k of weights[n, k] * log_softmax(logits[n])[k], and N times the gradient of their mean.

    A class without weight adds nothing, even where its logit is -inf.

    Precondition: logits, weights, grad (N, K), losses (N,) float64. Parallel over N.
    """
    N, K = logits.shape
    for n in prange(N):
        row, wanted = logits[n], weights[n]
        most = row[0]
        for k in range(1, K):
            # NaN once taken stays, and is taken when it comes
            most = row[k] if row[k] > most or row[k] != row[k] else most
        powers = wanted_in_all = row.dtype.type(0)
        for k in range(K):
            powers += np.exp(row[k] - most)
            wanted_in_all += wanted[k]
        shift, loss = np.log(powers), 0.0
        for k in range(K):
            log = row[k] - most - shift
            if wanted[k] != 0:
                loss -= wanted[k] * log
            grad[n, k] = (np.exp(log) * wanted_in_all - wanted[k]) / N
        losses[n] = loss


@strict_kernel
def sgd(value, grad, velocity, lr, momentum, nesterov, weight_decay):
    """One step of SGD with momentum, in place.

    Precondition: flat arrays, floats of their dtype. Parallel over elements.
    """
    for element in prange(value.size):
        i = np.uint64(element)
        g = grad[i] + weight_decay * value[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        value[i] -= lr * (g + momentum * v if nesterov else v)


@strict_kernel
def adam(value, grad, m, v, lr, beta1, beta2, eps, weight_decay, scale1, scale2):
    """One step of Adam, in place; scale1 and scale2 are 1 - beta**step. Precondition and axis as for `sgd`."""
    one = value.dtype.type(1)
    for element in prange(value.size):
        i = np.uint64(element)
        g = grad[i] + weight_decay * value[i]
        m[i] = beta1 * m[i] + (one - beta1) * g
        v[i] = beta2 * v[i] + (one - beta2) * g * g
        value[i] -= lr * (m[i] / scale1) / (np.sqrt(v[i] / scale2) + eps)
