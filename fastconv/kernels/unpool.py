"""Values put to the pixels that indices name, and taken from them."""

from __future__ import annotations

from numba import prange

from fastconv._runtime.jit import strict_kernel


@strict_kernel
def put(values, indices, y) -> int:
    """y[p, indices[p, o]] = values[p, o], of equal indices the last, and zero elsewhere.

    Returns how many indices lay outside the plane (and were left out).

    Precondition: values and indices (P, OH * OW), y (P, H * W), overwritten. Parallel over P, which owns its plane.
    """
    P, O = values.shape  # noqa: E741
    cells = y.shape[1]
    outside, zero = 0, y.dtype.type(0)
    for p in prange(P):
        y[p] = zero
        for o in range(O):
            index = indices[p, o]
            if 0 <= index < cells:
                y[p, index] = values[p, o]
            else:
                outside += 1
    return outside


@strict_kernel
def take(g, indices, grad_x) -> int:
    """grad_x[p, o] = g[p, indices[p, o]].

    Returns how many indices lay outside the plane (and were left out).

    Precondition: g (P, H * W), indices and grad_x (P, OH * OW). Parallel over P, which owns its values.
    """
    P, O = grad_x.shape  # noqa: E741
    cells = g.shape[1]
    outside = 0
    for p in prange(P):
        for o in range(O):
            index = indices[p, o]
            if 0 <= index < cells:
                grad_x[p, o] = g[p, index]
            else:
                outside += 1
    return outside
