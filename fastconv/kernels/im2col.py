"""im2col and its transpose col2im, for each order of the columns' axes: images n, taps k = (c, ky, kx), pixels p.

All take images (N, C, H, W), flat columns, and window = (OH, OW, KH, KW, top, left, sy, sx, dy, dx). Taps are added to
a pixel in their order, so that the sums of all orders have the same bits.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import valid_range
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import inlined, linked, strict_kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.micro.copy import add_tile, copy_tile
from fastconv.kernels.packing import transposed


@inlined
def _taps_inside(OW, KW, left, sx, dx, W):
    """For each window of a row, which columns of its taps lie inside the image: the first, the last + 1."""
    firsts, lasts = np.empty(OW, np.int64), np.empty(OW, np.int64)
    for ox in range(OW):
        firsts[ox], lasts[ox] = valid_range(ox * sx - left, dx, W, KW)
    return firsts, lasts


@strict_kernel
def im2col_rows(team, x, window, cols):
    """Copy every window of x to a row: cols (n, p, k). Parallel over rows of windows, each of which owns its rows."""
    N, C, H, W = x.shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    source, taps = x.reshape(-1), KH * KW
    firsts, lasts = _taps_inside(OW, KW, left, sx, dx, W)
    for line in prange(team, N * OH):
        n, oy = divmod(line, OH)
        low, high = valid_range(oy * sy - top, dy, H, KH)
        for ox in range(OW):
            first, last = firsts[ox], lasts[ox]
            for c in range(C):
                start = ((line * OW + ox) * C + c) * taps
                for cell in range(start, start + low * KW):
                    cols[cell] = 0
                for cell in range(start + high * KW, start + taps):
                    cols[cell] = 0
                cell, corner = start + low * KW, ((n * C + c) * H + oy * sy - top + low * dy) * W + ox * sx - left
                if ENABLED and dx == 1:
                    copy_tile(1, high - low, cols, cell, KW, source, corner, dy * W, first, last, KW)
                else:
                    for ky in range(high - low):
                        for kx in range(KW):
                            there = first <= kx < last
                            cols[cell + ky * KW + kx] = source[corner + ky * dy * W + kx * dx] if there else 0


@strict_kernel
def col2im_rows(team, cols, window, x):
    """x[n, c, pixel of (k, p)] = the sum of cols (n, p, k). Parallel over (n, c), each of which owns its plane."""
    N, C, H, W = x.shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    firsts, lasts = _taps_inside(OW, KW, left, sx, dx, W)
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        image = x[n, c].reshape(-1)
        image[:] = 0
        # the first taps of a pixel are of the last windows that have it
        for oy in range(OH - 1, -1, -1):
            low, high = valid_range(oy * sy - top, dy, H, KH)
            for ox in range(OW - 1, -1, -1):
                start = (((n * OH + oy) * OW + ox) * C + c) * KH * KW
                pixel, cell = (oy * sy - top + low * dy) * W + ox * sx - left, start + low * KW
                if ENABLED and dx == 1:
                    add_tile(high - low, image, pixel, dy * W, cols, cell, KW, firsts[ox], lasts[ox])
                else:
                    for ky in range(high - low):
                        for kx in range(firsts[ox], lasts[ox]):
                            image[pixel + ky * dy * W + kx * dx] += cols[cell + ky * KW + kx]


@strict_kernel
def im2col_unfold(team, x, window, cols):
    """Copy every window of x to a column of its image: cols (n, k, p). Parallel over (n, k), which owns its row."""
    N, C, H, W = x.shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    flat, P, K = x.reshape(-1), OH * OW, C * KH * KW
    for row in prange(team, N * K):
        n, k = divmod(row, K)
        c, tap = divmod(k, KH * KW)
        ky, kx = divmod(tap, KW)
        low, high = valid_range(ky * dy - top, sy, H, OH)
        first, last = valid_range(kx * dx - left, sx, W, OW)
        pixels = cols[row * P : (row + 1) * P]
        pixels[: low * OW] = 0
        pixels[high * OW :] = 0
        for oy in range(low, high):
            pixels[oy * OW : oy * OW + first] = 0
            pixels[oy * OW + last : (oy + 1) * OW] = 0
            source = np.uint64(np.int64(((n * C + c) * H + oy * sy + ky * dy - top) * W + first * sx + kx * dx - left))
            target = np.uint64(oy * OW + first)
            if sx == 1:
                for i in range(np.uint64(last - first)):
                    pixels[target + i] = flat[source + i]
            else:
                for i in range(np.uint64(last - first)):
                    pixels[target + i] = flat[source + i * np.uint64(sx)]


@strict_kernel
def col2im_unfold(team, cols, window, x):
    """x[n, c, pixel of (k, p)] = the sum of cols (n, k, p). Parallel over (n, c), each of which owns its plane."""
    N, C, H, W = x.shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        image = x[n, c].reshape(-1)
        image[:] = 0
        for tap in range(KH * KW):
            ky, kx = divmod(tap, KW)
            low, high = valid_range(ky * dy - top, sy, H, OH)
            first, last = valid_range(kx * dx - left, sx, W, OW)
            for oy in range(low, high):
                row = oy * sy + ky * dy - top
                pixel = np.uint64(np.int64(row * W + first * sx + kx * dx - left))  # may wrap where there is none
                cell = np.uint64(((plane * KH * KW + tap) * OH + oy) * OW + first)
                if sx == 1:
                    for i in range(np.uint64(last - first)):
                        image[pixel + i] += cols[cell + i]
                else:
                    for i in range(np.uint64(last - first)):
                        image[pixel + i * np.uint64(sx)] += cols[cell + i]


@linked
def im2col_cols(x, window, cols) -> None:
    """Copy every window of x (N, C, H, W) to a column: cols (k, p, n). Pixels are first brought side by side."""
    N, C, H, W = x.shape
    pixels = x.reshape(-1)
    if N > 1:
        pixels = np.empty(x.size, x.dtype)
        transposed(x.reshape((1, N, C * H * W)), pixels.reshape((1, C * H * W, N)))
    _im2col_cols(pixels, x.shape, window, cols)


@strict_kernel
def _im2col_cols(team, pixels, shape, window, cols):
    """Copy every window to a column: cols (k, p, n).

    Precondition: pixels (c, y, x, n), flat. Parallel over k, each of which owns its row.
    """
    N, C, H, W = shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    length = OH * OW * N
    for k in prange(team, C * KH * KW):
        c, tap = divmod(k, KH * KW)
        ky, kx = divmod(tap, KW)
        low, high = valid_range(ky * dy - top, sy, H, OH)
        first, last = valid_range(kx * dx - left, sx, W, OW)
        row = cols[k * length : (k + 1) * length]
        row[: low * OW * N] = 0
        row[high * OW * N :] = 0
        for oy in range(low, high):
            row[oy * OW * N : (oy * OW + first) * N] = 0
            row[(oy * OW + last) * N : (oy + 1) * OW * N] = 0
            # windows side by side have their pixels side by side, unless there is a stride
            together = last - first if sx == 1 else 1
            for ox in range(first, last, max(together, 1)):
                target = np.uint64((oy * OW + ox) * N)
                source = np.uint64((((c * H + oy * sy + ky * dy - top) * W) + ox * sx + kx * dx - left) * N)
                for i in range(np.uint64(together * N)):
                    row[target + i] = pixels[source + i]


@linked
def col2im_cols(cols, window, x) -> None:
    """x[n, c, pixel of (k, p)] = the sum of cols (k, p, n). Pixels side by side are then brought apart."""
    N, C, H, W = x.shape
    if N == 1:
        _col2im_cols(cols, x.shape, window, x.reshape(-1))
        return
    pixels = np.empty(x.size, x.dtype)
    _col2im_cols(cols, x.shape, window, pixels)
    transposed(pixels.reshape((1, C * H * W, N)), x.reshape((1, N, C * H * W)))


@strict_kernel
def _col2im_cols(team, cols, shape, window, pixels):
    """pixels (c, y, x, n) = the sums of cols (k, p, n).

    Precondition: pixels flat. Parallel over rows (c, y) of pixels, for all images side by side, which own their sums.
    """
    N, C, H, W = shape
    OH, OW, KH, KW, top, left, sy, sx, dy, dx = window
    for line in prange(team, C * H):
        c, iy = divmod(line, H)
        row = pixels[line * W * N : (line + 1) * W * N]
        row[:] = 0
        for tap in range(KH * KW):
            ky, kx = divmod(tap, KW)
            oy, rest = divmod(iy + top - ky * dy, sy)
            if rest != 0 or oy < 0 or oy >= OH:
                continue
            first, last = valid_range(kx * dx - left, sx, W, OW)
            together = last - first if sx == 1 else 1
            for ox in range(first, last, max(together, 1)):
                target = np.uint64((ox * sx + kx * dx - left) * N)
                source = np.uint64((((c * KH * KW + tap) * OH + oy) * OW + ox) * N)
                for i in range(np.uint64(together * N)):
                    row[target + i] += cols[source + i]
