"""Loops over single elements or rows: ReLU, softmax cross-entropy, and the update rules of the optimisers.

Indices are unsigned, as in `simd.py`.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._addresses import array_at
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
def sgd(values, grads, velocities, tasks, numbers, nesterov):
    """One step of SGD with momentum, in place, of all parameters.

    Precondition: values, grads, velocities (P,) addresses of flat arrays of numbers' dtype; tasks (T, 3) the parameter,
    its first element and how many, each once; numbers (3,) the learning rate, the momentum and the weight decay.
    Parallel over tasks, each of which owns its elements.
    """
    lr, momentum, weight_decay = numbers[0], numbers[1], numbers[2]
    for task in prange(tasks.shape[0]):
        p, first, count = tasks[task, 0], tasks[task, 1], tasks[task, 2]
        value = array_at(values[p], first + count, numbers)
        grad, velocity = array_at(grads[p], first + count, numbers), array_at(velocities[p], first + count, numbers)
        for i in range(np.uint64(first), np.uint64(first + count)):
            g = grad[i] + weight_decay * value[i]
            v = momentum * velocity[i] + g
            velocity[i] = v
            value[i] -= lr * (g + momentum * v if nesterov else v)


@strict_kernel
def adam(values, grads, means, squares, tasks, numbers):
    """One step of Adam, in place, of all parameters.

    Precondition and axis as for `sgd`; numbers (7,) the learning rate, beta1, beta2, eps, the weight decay, and
    1 - beta**step of both.
    """
    lr, beta1, beta2, eps, weight_decay = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    scale1, scale2, one = numbers[5], numbers[6], numbers.dtype.type(1)
    for task in prange(tasks.shape[0]):
        p, first, count = tasks[task, 0], tasks[task, 1], tasks[task, 2]
        value, grad = array_at(values[p], first + count, numbers), array_at(grads[p], first + count, numbers)
        m, v = array_at(means[p], first + count, numbers), array_at(squares[p], first + count, numbers)
        for i in range(np.uint64(first), np.uint64(first + count)):
            g = grad[i] + weight_decay * value[i]
            m[i] = beta1 * m[i] + (one - beta1) * g
            v[i] = beta2 * v[i] + (one - beta2) * g * g
            value[i] -= lr * (m[i] / scale1) / (np.sqrt(v[i] / scale2) + eps)
