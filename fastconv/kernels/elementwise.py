"""Loops over single elements or rows: rectifiers, softmax cross-entropy, and copies.

Indices are unsigned, as in `micro/gemm.py`.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import linked, sized_strict_kernel, strict_helper, strict_kernel
from fastconv._runtime.launch import prange
from fastconv._runtime.pointers import array_at


@strict_kernel
def relu(team, x, y):
    """y = x where x > 0 or x is NaN, else 0. Precondition: flat arrays. Parallel over elements."""
    zero = x.dtype.type(0)
    for element in prange(team, x.size):
        i = np.uint64(element)
        y[i] = zero if x[i] <= zero else x[i]


@strict_kernel
def relu_backward(team, g, y, grad_x):
    """grad_x = g where y > 0, else 0. Precondition: flat arrays. Parallel over elements."""
    zero = g.dtype.type(0)
    for element in prange(team, g.size):
        i = np.uint64(element)
        grad_x[i] = g[i] if y[i] > zero else zero


@sized_strict_kernel
def relu6(team, x, y):
    """Rectify up to a limit: y = min(max(x, 0), 6), NaN where x is NaN.

    Precondition: flat arrays of one size. Parallel over elements, each of which is written by one iteration.
    """
    zero, six = x.dtype.type(0), x.dtype.type(6)
    for element in prange(team, x.size):
        i = np.uint64(element)
        y[i] = zero if x[i] <= zero else six if x[i] >= six else x[i]


@sized_strict_kernel
def relu6_backward(team, g, y, grad_x):
    """Pass on the gradient where nothing was cut off: grad_x = g where 0 < y < 6, else 0.

    Precondition and axis as for `relu6`.
    """
    zero, six = g.dtype.type(0), g.dtype.type(6)
    for element in prange(team, g.size):
        i = np.uint64(element)
        grad_x[i] = g[i] if zero < y[i] < six else zero


@sized_strict_kernel
def leak(team, x, a, slope, y):
    """y = a where x > 0, else slope * a: leaky ReLU for a = x, its gradient for a = that of the result.

    Precondition: flat arrays, slope of their dtype. Parallel over elements.
    """
    zero = x.dtype.type(0)
    for element in prange(team, x.size):
        i = np.uint64(element)
        y[i] = a[i] if x[i] > zero else slope * a[i]


@sized_strict_kernel
def kept(team, x, mask, factor, y):
    """y = factor * x where the mask is set, else 0: dropout. Precondition: as for `leak`. Parallel over elements."""
    zero = x.dtype.type(0)
    for element in prange(team, x.size):
        i = np.uint64(element)
        y[i] = x[i] * factor if mask[i] else zero


@linked
def one_hot(ids, weights) -> int:
    """weights[n, ids[n]] = 1, in jitted code; the first n whose id names no class, or -1.

    Precondition: ids (N,) int64, weights (N, K) zeros.
    """
    N, K = weights.shape
    for n in range(N):
        if ids[n] < 0 or ids[n] >= K:
            return n
        weights[n, ids[n]] = 1
    return -1


@strict_helper
def cross_entropy_row(logits, wanted, count, grad):
    """-sum over k of wanted[k] * log_softmax(logits)[k], whose gradient divided by `count` becomes `grad`.

    A class that is not wanted adds nothing, even where its logit is -inf.

    Precondition: three arrays (K,) of one float type.
    """
    K = logits.size
    most = logits[0]
    for k in range(1, K):
        # NaN once taken stays, and is taken when it comes
        most = logits[k] if logits[k] > most or logits[k] != logits[k] else most
    powers = all_wanted = 0.0
    for k in range(K):
        powers += np.exp(logits[k] - most)
        all_wanted += wanted[k]
    shift, wanted_in_all, loss = np.log(logits.dtype.type(powers)), logits.dtype.type(all_wanted), 0.0
    for k in range(K):
        log = logits[k] - most - shift
        if wanted[k] != 0:
            loss -= wanted[k] * log
        grad[k] = (np.exp(log) * wanted_in_all - wanted[k]) / count
    return loss


@sized_strict_kernel
def cross_entropy(team, logits, weights, losses, grad):
    """losses[n] = -sum over k of weights[n, k] * log_softmax(logits[n])[k], and the gradient of their mean.

    Precondition: logits, weights, grad (N, K), losses (N,) float64. Parallel over N.
    """
    N = len(logits)
    for n in prange(team, N):
        losses[n] = cross_entropy_row(logits[n], weights[n], N, grad[n])


@strict_kernel
def copy(team, targets, sources, tasks, byte):
    """Copy arrays of any dtypes.

    Precondition: addresses (arrays,); tasks as for `updates.update`, in bytes. Parallel over tasks.
    """
    for task in prange(team, tasks.shape[0]):
        p, first, count = tasks[task, 0], tasks[task, 1], tasks[task, 2]
        target, source = array_at(targets[p], first + count, byte), array_at(sources[p], first + count, byte)
        for i in range(np.uint64(first), np.uint64(first + count)):
            target[i] = source[i]
