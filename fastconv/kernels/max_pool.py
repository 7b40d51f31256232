"""Max-pooling with the index of the maximum, and its gradient."""

from __future__ import annotations

from numba import prange

from fastconv._jit import strict_helper, strict_kernel


@strict_helper
def _largest(image, y0, x0, KH, KW, dy, dx):
    """The maximum of a window's pixels and its index iy * W + ix: the first of equals, and the first NaN wins.

    Precondition: image (H, W); the window starts at (y0, x0), may lie partly outside, and holds a pixel.
    """
    H, W = image.shape
    first_y, first_x = max(0, -(y0 // dy)), max(0, -(x0 // dx))
    best = image[y0 + first_y * dy, x0 + first_x * dx]
    index = (y0 + first_y * dy) * W + x0 + first_x * dx
    for iy in range(y0 + first_y * dy, min(H, y0 + KH * dy), dy):
        for ix in range(x0 + first_x * dx, min(W, x0 + KW * dx), dx):
            value = image[iy, ix]
            if value > best or (value != value and best == best):
                best = value
                index = iy * W + ix
    return best, index


@strict_kernel
def forward(x, window, y):
    """y[p, oy, ox] = the maximum of the window's pixels.

    Precondition: x (P, H, W); window = (KH, KW, top, left, sy, sx, dy, dx); y (P, OH, OW). Parallel over P, which owns
    its plane.
    """
    KH, KW, top, left, sy, sx, dy, dx = window
    P, OH, OW = y.shape
    for p in prange(P):
        for oy in range(OH):
            for ox in range(OW):
                y[p, oy, ox], _ = _largest(x[p], oy * sy - top, ox * sx - left, KH, KW, dy, dx)


@strict_kernel
def forward_with_indices(x, window, y, indices):
    """As `forward`, and indices[p, oy, ox] = iy * W + ix of that maximum."""
    KH, KW, top, left, sy, sx, dy, dx = window
    P, OH, OW = y.shape
    for p in prange(P):
        for oy in range(OH):
            for ox in range(OW):
                best, index = _largest(x[p], oy * sy - top, ox * sx - left, KH, KW, dy, dx)
                y[p, oy, ox] = best
                indices[p, oy, ox] = index


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
