"""Average pooling and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import jitable, sized_strict_kernel, strict_helper, strict_kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.micro.mean_planes import mean_tile
from fastconv.kernels.micro.tiled_means import WIDTH, mean_rows, share_rows


@jitable
def _tiled(window, H, W, OH, OW):
    """Whether the windows lie side by side inside the plane, and vectors take them."""
    KH, KW, top, left, sy, sx = window
    side_by_side = KW == WIDTH and KW == sx and KH == sy and top == 0 and left == 0
    return ENABLED and side_by_side and OW * sx <= W and OH * sy <= H


@sized_strict_kernel
def forward(team, x, window, rows, columns, y):
    """y[p, oy, ox] = the sum of the window's pixels, row by row, divided by rows[oy] * columns[ox].

    The product is taken in integers, so that it is rounded once.

    Precondition: x (P, H, W); window = (KH, KW, top, left, sy, sx); rows (OH,) and columns (OW,) int64, at least 1;
    y (P, OH, OW). Parallel over P, which owns its plane.
    """
    KH, KW, top, left, sy, sx = window
    P, H, W = x.shape
    OH, OW = y.shape[1:]
    flat, flat_x = y.reshape(-1), x.reshape(-1)
    tiled = _tiled(window, H, W, OH, OW)
    for p in prange(team, P):
        if tiled:
            mean_rows(flat, p * OH * OW, flat_x, p * H * W, W, KH, rows[0] * columns[0], OH, OW)
            continue
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
                total = 0.0
                for iy in range(max(y0, 0), min(y0 + KH, H)):
                    for ix in range(max(x0, 0), min(x0 + KW, W)):
                        total += x[p, iy, ix]
                y[p, oy, ox] = x.dtype.type(total) / x.dtype.type(rows[oy] * columns[ox])


@strict_kernel
def backward(team, g, window, rows, columns, grad_x):
    """grad_x[p, iy, ix] = the sum of g[p, oy, ox] / (rows[oy] * columns[ox]) over the windows that hold the pixel.

    The windows of a row are added up once for all rows of pixels that they reach, and these in double precision: a
    large window has millions of pixels, and a pixel as many windows.

    Precondition: as for `forward`, g (P, OH, OW), grad_x (P, H, W), overwritten. Parallel over P, which owns its plane.
    """
    KH, KW, top, left, sy, sx = window
    P, H, W = grad_x.shape
    OH, OW = g.shape[1:]
    flat, flat_g, zero = grad_x.reshape(-1), g.reshape(-1), grad_x.dtype.type(0)
    tiled = _tiled(window, H, W, OH, OW)
    kept = ceil_div(KH, sy)  # rows of windows that reach the same pixel, at most
    for p in prange(team, P):
        if tiled:
            if OH * KH < H or OW * KW < W:
                for cell in range(np.uint64(p * H * W), np.uint64((p + 1) * H * W)):
                    flat[cell] = zero
            share_rows(flat, p * H * W, W, KH, rows[0] * columns[0], flat_g, p * OH * OW, OH, OW)
            continue
        shares, total, done = np.empty((kept, W)), np.empty(W), 0
        for iy in range(H):
            first, last = max(0, ceil_div(top + iy + 1 - KH, sy)), min(OH, (iy + top) // sy + 1)
            for oy in range(done, last):
                _add_shares(g[p, oy], rows[oy], columns, KW, left, sx, shares[oy % kept])
            done = max(done, last)
            line = np.uint64((p * H + iy) * W)
            if last - first == 1:  # windows that do not overlap
                row = shares[first % kept]
                for ix in range(np.uint64(W)):
                    flat[line + ix] = row[ix]
                continue
            total[:] = 0
            for oy in range(first, last):
                row = shares[oy % kept]
                for ix in range(np.uint64(W)):
                    total[ix] += row[ix]
            for ix in range(np.uint64(W)):
                flat[line + ix] = total[ix]


@strict_helper
def _add_shares(g, divisor, columns, KW, left, sx, row):
    """row[ix] = the sum of g[ox] / (divisor * columns[ox]) over the windows of one row that hold the column ix."""
    OW, W = g.size, row.size
    row[:] = 0
    shares = np.empty(OW, g.dtype)
    for ox in range(OW):
        shares[ox] = g[ox] / g.dtype.type(divisor * columns[ox])
    # tap by tap, a loop without branches
    for kx in range(KW):
        first = max(0, ceil_div(left - kx, sx))
        last = max(first, min(OW, ceil_div(left - kx + W, sx)))
        cell = np.uint64(kx - left + first * sx)
        for step in range(np.uint64(last - first)):
            row[cell + step * np.uint64(sx)] += shares[np.uint64(first) + step]
