"""Values put to the pixels that indices name, and taken from them."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import strict_kernel
from fastconv._runtime.launch import prange


@strict_kernel
def put(team, values, indices, y) -> int:
    """y[p, indices[p, o]] = values[p, o] in each plane p, of equal indices the last, and zero elsewhere.

    Returns how many indices lay outside the plane (and were left out).

    Precondition: values and indices (N, C, OH, OW), y (N, C, H, W), overwritten. Parallel over planes, which own their
    pixels.
    """
    N, C, H, W = y.shape
    size, cells = values.shape[2] * values.shape[3], H * W
    source, places, target = values.reshape(-1), indices.reshape(-1), y.reshape(-1)
    outside, zero = 0, y.dtype.type(0)
    for p in prange(team, N * C):
        first, own = p * cells, p * size
        for i in range(np.uint64(first), np.uint64(first + cells)):
            target[i] = zero
        for o in range(np.uint64(own), np.uint64(own + size)):
            index = places[o]
            if 0 <= index < cells:
                target[np.uint64(first + index)] = source[o]
            else:
                outside += 1
    return outside


@strict_kernel
def take(team, g, indices, grad_x) -> int:
    """grad_x[p, o] = g[p, indices[p, o]] in each plane p.

    Returns how many indices lay outside the plane (and were left out).

    Precondition: g (N, C, H, W), indices and grad_x (N, C, OH, OW). Parallel over planes, which own their values.
    """
    N, C, H, W = g.shape
    size, cells = grad_x.shape[2] * grad_x.shape[3], H * W
    source, places, target = g.reshape(-1), indices.reshape(-1), grad_x.reshape(-1)
    outside = 0
    for p in prange(team, N * C):
        first, own = p * cells, p * size
        for o in range(np.uint64(own), np.uint64(own + size)):
            index = places[o]
            if 0 <= index < cells:
                target[o] = source[np.uint64(first + index)]
            else:
                outside += 1
    return outside
