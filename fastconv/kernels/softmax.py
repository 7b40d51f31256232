"""Softmax and log_softmax in jitted code, with NumPy's loops of exp and log.

Sums are taken in float64, term after term; NumPy, which is what Python calls, adds them pairwise. Arguments are
contiguous arrays of any shape and one float type; inside, they are (outer, K, inner) with K along the axis.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import linked, strict_helper
from fastconv._runtime.numpy_loops import exp, log


@strict_helper
def _along(a, axis):
    """An array of any shape as (outer, K, inner), K along `axis`."""
    outer, K = 1, a.shape[axis]
    for i in range(axis):
        outer *= a.shape[i]
    return a.reshape((outer, K, a.size // max(outer * K, 1)))


@strict_helper
def _shift(x, y):
    """y = x less its largest value along K, or NaN where there is one."""
    outer, K, inner = x.shape
    for o in range(outer):
        for i in range(inner):
            most = x[o, 0, i]
            for k in range(1, K):
                # NaN once taken stays, and is taken when it comes
                most = x[o, k, i] if x[o, k, i] > most or x[o, k, i] != x[o, k, i] else most
            for k in range(K):
                y[o, k, i] = x[o, k, i] - most


@strict_helper
def _totals(a):
    """The sums along K, (outer, inner)."""
    outer, K, inner = a.shape
    totals = np.empty((outer, inner), a.dtype)
    for o in range(outer):
        for i in range(inner):
            total = 0.0
            for k in range(K):
                total += a[o, k, i]
            totals[o, i] = total
    return totals


@strict_helper
def _powers(x, y):
    """y = exp(x)."""
    values, powers = x.reshape(-1), y.reshape(-1)
    for i in range(x.size):
        powers[i] = values[i]
    exp(powers, 0, powers.size)


@linked
def softmax(x, axis):
    """exp(x) / sum(exp(x))."""
    result = np.empty(x.shape, x.dtype)
    x, y = _along(x, axis), _along(result, axis)
    _shift(x, y)
    exp(y.reshape(-1), 0, y.size)
    totals = _totals(y)
    outer, K, inner = y.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                y[o, k, i] /= totals[o, i]
    return result


@linked
def softmax_backward(g, y, axis):
    """y * (g - sum(g * y))."""
    result = np.empty(g.shape, g.dtype)
    g, y, grad_x = _along(g, axis), _along(y, axis), _along(result, axis)
    outer, K, inner = g.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                grad_x[o, k, i] = g[o, k, i] * y[o, k, i]
    totals = _totals(grad_x)
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                grad_x[o, k, i] = y[o, k, i] * (g[o, k, i] - totals[o, i])
    return result


@linked
def log_softmax(x, axis):
    """x - log(sum(exp(x)))."""
    result = np.empty(x.shape, x.dtype)
    x, y = _along(x, axis), _along(result, axis)
    _shift(x, y)
    powers = np.empty(y.shape, y.dtype)
    _powers(y, powers)
    logs = _totals(powers)
    log(logs.reshape(-1), 0, logs.size)
    outer, K, inner = y.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                y[o, k, i] -= logs[o, i]
    return result


@linked
def log_softmax_backward(g, y, axis):
    """g - exp(y) * sum(g)."""
    result = np.empty(g.shape, g.dtype)
    g, y, grad_x = _along(g, axis), _along(y, axis), _along(result, axis)
    _powers(y, grad_x)
    totals = _totals(g)
    outer, K, inner = g.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                grad_x[o, k, i] = g[o, k, i] - grad_x[o, k, i] * totals[o, i]
    return result
