"""Average pooling and its gradient."""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import strict_kernel
from fastconv.kernels.pool_tiles import mean_tile
from fastconv.kernels.tiles import ENABLED


@strict_kernel
def forward(x, window, rows, columns, y):
    """y[p, oy, ox] = the sum of the window's pixels, row by row, divided by rows[oy] * columns[ox].

    The product is taken in integers, so that it is rounded once.

    Precondition: x (P, H, W); window = (KH, KW, top, left, sy, sx); rows (OH,) and columns (OW,) int64, at least 1;
    y (P, OH, OW). Parallel over P, which owns its plane.
    """
    KH, KW, top, left, sy, sx = window
    P, H, W = x.shape
    OH, OW = y.shape[1:]
    flat, flat_x = y.reshape(-1), x.reshape(-1)
    for p in prange(P):
        for oy in range(OH):
            y0 = oy * sy - top
            if ENABLED and sx <= 2:
                first, last = max(y0, 0), min(y0 + KH, H)
                cell, source = (p * OH + oy) * OW, (p * H + first) * W
                if sx == 1:
                    mean_tile(1, flat, cell, rows[oy], columns, flat_x, source, W, last - first, W, KW, left, OW)
                else:
                    mean_tile(2, flat, cell, rows[oy], columns, flat_x, source, W, last - first, W, KW, left, OW)
                continue
            for ox in range(OW):
                x0 = ox * sx - left
                total = x.dtype.type(0)
                for iy in range(max(y0, 0), min(y0 + KH, H)):
                    for ix in range(max(x0, 0), min(x0 + KW, W)):
                        total += x[p, iy, ix]
                y[p, oy, ox] = total / x.dtype.type(rows[oy] * columns[ox])


@strict_kernel
def backward(g, window, rows, columns, grad_x):
    """Add g[p, oy, ox] / (rows[oy] * columns[ox]) to every pixel of its window.

    Precondition: as for `forward`, g (P, OH, OW), grad_x (P, H, W), overwritten. Parallel over P, which owns its plane.
    """
    KH, KW, top, left, sy, sx = window
    P, H, W = grad_x.shape
    OH, OW = g.shape[1:]
    flat = grad_x.reshape(-1)
    for p in prange(P):
        grad_x[p] = 0
        shares = np.empty(OW, g.dtype)
        for oy in range(OH):
            for ox in range(OW):
                shares[ox] = g[p, oy, ox] / g.dtype.type(rows[oy] * columns[ox])
            y0 = oy * sy - top
            for iy in range(max(y0, 0), min(y0 + KH, H)):
                # tap by tap, a loop without branches; from the right, so that a pixel's windows come from the left
                for kx in range(KW - 1, -1, -1):
                    first = max(0, -((kx - left) // sx))
                    last = max(first, min(OW, -((kx - left - W) // sx)))
                    cell = np.uint64((p * H + iy) * W + kx - left + first * sx)
                    for step in range(np.uint64(last - first)):
                        flat[cell + step * np.uint64(sx)] += shares[np.uint64(first) + step]
