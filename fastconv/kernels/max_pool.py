"""Max-pooling with the index of the maximum, and its gradient."""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import strict_helper, strict_kernel


@strict_helper
def _reach(out, size, shift, stride):
    """The range of outputs o < out whose pixel o * stride + shift lies on an axis of `size` pixels."""
    first = max(0, -(shift // stride))
    return first, max(first, min(out, -((shift - size) // stride)))


@strict_kernel
def forward(x, window, lowest, y):
    """y[p, oy, ox] = the maximum of the window's pixels, NaN if there is one.

    A row of results at a time, tap by tap: the comparison becomes a selection, where window by window it was a branch
    that the processor guessed wrong (measured: 4 times slower).

    Precondition: x (P, H, W); window = (KH, KW, top, left, sy, sx, dy, dx), each window holding a pixel; `lowest` no
    larger than any value; y (P, OH, OW). Parallel over P, which owns its plane.
    """
    KH, KW, top, left, sy, sx, dy, dx = window
    P, H, W = x.shape
    OH, OW = y.shape[1:]
    for p in prange(P):
        for oy in range(OH):
            for ox in range(OW):
                y[p, oy, ox] = lowest
            for iy in range(oy * sy - top, oy * sy - top + KH * dy, dy):
                if iy < 0 or iy >= H:
                    continue
                for kx in range(KW):
                    shift = kx * dx - left
                    first, last = _reach(OW, W, shift, sx)
                    for ox in range(first, last):
                        value, best = x[p, iy, ox * sx + shift], y[p, oy, ox]
                        y[p, oy, ox] = value if value > best or value != value else best


@strict_helper
def _wins(value, best):
    """Whether `value`, which comes later, replaces `best`: larger, or the first NaN."""
    return (value > best) | ((value != value) & (best == best))


@strict_helper
def _windows_of_four(x, sy, sx, y, indices):
    """The usual pooling, 2 x 2 windows that lie inside the plane x (H, W).

    A tournament of four with the index picked by a mask: the processor cannot guess the winner, and LLVM would turn the
    choice between two indices into a branch (measured: 3 times slower).
    """
    W = np.uint64(x.shape[1])
    flat = x.reshape(-1)
    for oy in range(y.shape[0]):
        for ox in range(y.shape[1]):
            cell = np.uint64(oy * sy) * W + np.uint64(ox * sx)
            a, b = flat[cell], flat[cell + np.uint64(1)]
            c, d = flat[cell + W], flat[cell + W + np.uint64(1)]
            right_above, right_below = _wins(b, a), _wins(d, c)
            above, below = b if right_above else a, d if right_below else c
            lower = _wins(below, above)
            y[oy, ox] = below if lower else above
            top, bottom = np.int64(right_above), np.int64(W) + np.int64(right_below)
            indices[oy, ox] = np.int64(cell) + (top ^ ((top ^ bottom) & -np.int64(lower)))


@strict_kernel
def forward_with_indices(x, window, y, indices):
    """As `forward`, and indices[p, oy, ox] = iy * W + ix of that maximum: the first of equals, the first of NaNs."""
    KH, KW, top, left, sy, sx, dy, dx = window
    P, H, W = x.shape
    OH, OW = y.shape[1:]
    of_four = KH == 2 and KW == 2 and dy == 1 and dx == 1 and top == 0 and left == 0
    inside = (OH - 1) * sy + 2 <= H and (OW - 1) * sx + 2 <= W
    for p in prange(P):
        if of_four and inside:
            _windows_of_four(x[p], sy, sx, y[p], indices[p])
            continue
        for oy in range(OH):
            for ox in range(OW):
                y[p, oy, ox] = 0
                indices[p, oy, ox] = -1
            for iy in range(oy * sy - top, oy * sy - top + KH * dy, dy):
                if iy < 0 or iy >= H:
                    continue
                for kx in range(KW):
                    shift = kx * dx - left
                    first, last = _reach(OW, W, shift, sx)
                    for ox in range(first, last):
                        value, best, index = x[p, iy, ox * sx + shift], y[p, oy, ox], indices[p, oy, ox]
                        # a NaN among the best stays: it is only ever replaced while nothing has been found
                        better = (index < 0) | _wins(value, best)
                        y[p, oy, ox] = value if better else best
                        indices[p, oy, ox] = iy * W + ox * sx + shift if better else index


@strict_kernel
def backward(g, indices, grad_x):
    """grad_x[p, indices[p, o]] += g[p, o]; returns how many indices lay outside the plane (and were left out).

    The count is taken here because a check of its own would read the indices once more.

    Precondition: g and indices (P, OH * OW), grad_x (P, H * W), overwritten. Parallel over P, which owns its plane.
    """
    P, O = g.shape  # noqa: E741
    cells = grad_x.shape[1]
    outside = 0
    for p in prange(P):
        grad_x[p] = 0
        for o in range(O):
            index = indices[p, o]
            if 0 <= index < cells:
                grad_x[p, index] += g[p, o]
            else:
                outside += 1
    return outside
