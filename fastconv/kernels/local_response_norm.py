"""Local response normalisation in jitted code. Powers are the C library's, and not NumPy's, which is what Python calls.

Images are (N, C, H, W), of one float type.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import linked, strict_helper


@strict_helper
def _neighbours(a, before, after):
    """For each channel of a (N, C, P) the sum over the channels from c - before to c + after."""
    N, C, P = a.shape
    total = np.empty(a.shape, a.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                total[n, c, p] = a[n, c, p]
            for other in range(c - 1, max(c - before, 0) - 1, -1):
                for p in range(P):
                    total[n, c, p] += a[n, other, p]
            for other in range(c + 1, min(c + after, C - 1) + 1):
                for p in range(P):
                    total[n, c, p] += a[n, other, p]
    return total


@strict_helper
def _planes(x, flat):
    return flat.reshape((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))


@strict_helper
def _base(x, size, alpha, k):
    """k + alpha / size * the sum of squares, flat."""
    squares = np.empty(x.size, x.dtype)
    values, share, start = x.reshape(-1), x.dtype.type(alpha / size), x.dtype.type(k)
    for i in range(x.size):
        squares[i] = values[i] * values[i]
    base = _neighbours(_planes(x, squares), size // 2, (size - 1) // 2).reshape(-1)
    for i in range(x.size):
        base[i] = base[i] * share + start
    return base


@linked
def normalise(x, size, alpha, beta, k, y) -> None:
    """y = x over the power of its neighbours' mean square."""
    flat, values, base, power = y.reshape(-1), x.reshape(-1), _base(x, size, alpha, k), x.dtype.type(-beta)
    for i in range(x.size):
        flat[i] = values[i] * base[i] ** power


@linked
def gradient(g, x, size, alpha, beta, k, grad_x) -> None:
    """grad_x = the gradient of x, for that of the result."""
    through_base = np.empty(x.size, x.dtype)
    direct, values, gs, base = grad_x.reshape(-1), x.reshape(-1), g.reshape(-1), _base(x, size, alpha, k)
    power, share = x.dtype.type(-beta), x.dtype.type(2 * alpha * beta / size)
    for i in range(x.size):
        direct[i] = gs[i] * base[i] ** power
        through_base[i] = direct[i] * values[i] / base[i]
    sums = _neighbours(_planes(x, through_base), (size - 1) // 2, size // 2).reshape(-1)
    for i in range(x.size):
        direct[i] -= values[i] * sums[i] * share
