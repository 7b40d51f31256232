"""Max-pooling with the index of the maximum, and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div, valid_range
from fastconv._runtime.jit import jitable, strict_helper, strict_kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.micro.max_planes import max_tile


@jitable
def planes(images):
    """The images (N, C, H, W) as (N * C, H, W)."""
    N, C, H, W = images.shape
    return images.reshape((N * C, H, W))


@strict_kernel
def forward(team, x, window, lowest, y):
    """y[p, oy, ox] = the maximum of the window's pixels, NaN if there is one.

    A row of results at a time, tap by tap: the comparison becomes a selection, where window by window it was a branch
    that the processor guessed wrong (measured: 4 times slower).

    Precondition: x (N, C, H, W); window = (KH, KW, top, left, sy, sx, dy, dx), each window holding a pixel; `lowest` no
    larger than any value; y (N, C, OH, OW). Parallel over planes, which own their results.
    """
    KH, KW, top, left, sy, sx, dy, dx = window
    x, y = planes(x), planes(y)
    P, H, W = x.shape
    OH, OW = y.shape[1:]
    for p in prange(team, P):
        for oy in range(OH):
            for ox in range(OW):
                y[p, oy, ox] = lowest
            above, below = valid_range(oy * sy - top, dy, H, KH)
            for ky in range(above, below):
                iy = oy * sy - top + ky * dy
                for kx in range(KW):
                    shift = kx * dx - left
                    first, last = valid_range(shift, sx, W, OW)
                    for ox in range(first, last):
                        value, best = x[p, iy, ox * sx + shift], y[p, oy, ox]
                        y[p, oy, ox] = value if value > best or value != value else best


@strict_helper
def _wins(value, best):
    """Whether `value`, which comes later, replaces `best`: larger, or the first NaN."""
    return (value > best) | ((value != value) & (best == best))


@strict_kernel
def forward_with_indices(team, x, window, y, indices):
    """As `forward`, and indices[p, oy, ox] = iy * W + ix of that maximum: the first of equals, the first of NaNs."""
    KH, KW, top, left, sy, sx, dy, dx = window
    x, y, indices = planes(x), planes(y), planes(indices)
    P, H, W = x.shape
    OH, OW = y.shape[1:]
    for p in prange(team, P):
        for oy in range(OH):
            for ox in range(OW):
                y[p, oy, ox] = 0
                indices[p, oy, ox] = -1
            above, below = valid_range(oy * sy - top, dy, H, KH)
            for ky in range(above, below):
                iy = oy * sy - top + ky * dy
                for kx in range(KW):
                    shift = kx * dx - left
                    first, last = valid_range(shift, sx, W, OW)
                    for ox in range(first, last):
                        value, best, index = x[p, iy, ox * sx + shift], y[p, oy, ox], indices[p, oy, ox]
                        # a NaN among the best stays: it is only ever replaced while nothing has been found
                        better = (index < 0) | _wins(value, best)
                        y[p, oy, ox] = value if better else best
                        indices[p, oy, ox] = iy * W + ox * sx + shift if better else index


@strict_kernel
def forward_in_vectors(team, x, window, y, indices, keep):
    """As `forward_with_indices`, a vector of results at a time; the indices are stored where `keep`.

    Precondition: as there, and a horizontal stride of 1 or 2, floats, planes of less than 2^31 pixels; indices as y.
    """
    KH, KW, top, left, sy, sx, dy, dx = window
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    flat_x, flat_y, flat_indices = x.reshape(-1), y.reshape(-1), indices.reshape(-1)
    for p in prange(team, N * C):
        for oy in range(OH):
            # `valid_range` by hand: 5 % of the time of small planes
            skipped = max(0, -((oy * sy - top) // dy))
            iy = oy * sy - top + skipped * dy
            rows = min(KH - skipped, ceil_div(H - iy, dy))
            target, source = (p * OH + oy) * OW, (p * H + iy) * W
            cell, step = iy * W, dy * W
            if sx == 1:
                max_tile(1, flat_y, target, flat_indices, keep, cell, flat_x, source, W, rows, step, KW, dx, left, OW)
            else:
                max_tile(2, flat_y, target, flat_indices, keep, cell, flat_x, source, W, rows, step, KW, dx, left, OW)


@strict_kernel
def backward(team, g, indices, gate, gated, grad_x) -> int:
    """grad_x[p, indices[p, o]] += g[p, o], where `gated` only if gate[p, o] > 0, the gradient of a ReLU before.

    Returns how many indices lay outside the plane (and were left out).

    The count is taken here because a check of its own would read the indices once more.

    Precondition: g, indices and gate (N, C, OH, OW), grad_x (N, C, H, W), overwritten. Parallel over planes, which own
    their gradients.
    """
    N, C, H, W = grad_x.shape
    size, cells = g.shape[2] * g.shape[3], H * W
    values, places, gates, grad = g.reshape(-1), indices.reshape(-1), gate.reshape(-1), grad_x.reshape(-1)
    outside, zero = 0, g.dtype.type(0)
    for p in prange(team, N * C):
        first, own = p * cells, p * size
        for i in range(np.uint64(first), np.uint64(first + cells)):
            grad[i] = zero
        for o in range(np.uint64(own), np.uint64(own + size)):
            index = places[o]
            if 0 <= index < cells:
                grad[np.uint64(first + index)] += zero if gated and not gates[o] > zero else values[o]
            else:
                outside += 1
    return outside
