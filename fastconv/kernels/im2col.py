"""im2col and its transpose col2im, in any order of the columns' three axes."""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import strict_kernel


@strict_kernel
def im2col(x, window, strides, cols):
    """Copy every window of x; the value of (n, k, p) goes to cols[n * strides[0] + k * strides[1] + p * strides[2]].

    k = (c, ky, kx) numbers the taps, p = (oy, ox) the pixels.

    Precondition: x (N, C, H, W); window = (OH, OW, KH, KW, top, left, sy, sx, dy, dx); cols flat. Parallel over (n, c),
    each of which owns its taps.
    """
    N, C, H, W = x.shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    by_image, by_tap, by_pixel = strides
    for plane in prange(N * C):
        n, c = divmod(np.int64(plane), C)
        for ky in range(KH):
            for kx in range(KW):
                start = n * by_image + ((c * KH + ky) * KW + kx) * by_tap
                for oy in range(OH):
                    iy = oy * sy + ky * dy - top
                    inside = 0 <= iy < H
                    for ox in range(OW):
                        ix = ox * sx + kx * dx - left
                        cell = start + (oy * OW + ox) * by_pixel
                        if inside and 0 <= ix < W:
                            cols[cell] = x[n, c, iy, ix]
                        else:
                            cols[cell] = 0


@strict_kernel
def col2im(cols, window, strides, x):
    """The transpose of `im2col`: add every window's values to the pixels they came from.

    Precondition: as for `im2col`; x is overwritten. Parallel over (n, c), each of which owns its plane.
    """
    N, C, H, W = x.shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    by_image, by_tap, by_pixel = strides
    for plane in prange(N * C):
        n, c = divmod(np.int64(plane), C)
        x[n, c] = 0
        for ky in range(KH):
            for kx in range(KW):
                start = n * by_image + ((c * KH + ky) * KW + kx) * by_tap
                for oy in range(OH):
                    iy = oy * sy + ky * dy - top
                    if iy < 0 or iy >= H:
                        continue
                    for ox in range(OW):
                        ix = ox * sx + kx * dx - left
                        if 0 <= ix < W:
                            x[n, c, iy, ix] += cols[start + (oy * OW + ox) * by_pixel]
