"""Direct convolution and its gradients on wide rows of padded planes (see `ConvGeometry`).

Forward is a matrix product whose right-hand side is never built: y[oc, q] = sum over k of w[oc, k] * x[offsets[k] + q].
The gradient of the input is a convolution of the output gradient, with turned weights; the gradient of the weights is a
product over the pixels q.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import helper, kernel
from fastconv.kernels.simd import DOT_ROWS, add_dots, add_rows, lane_sum
from fastconv.kernels.tiles import LANES

CHANNEL_BLOCK = 64  # output channels that one task computes: their weights, of a block of terms, stay in the L2 cache
PIXEL_BLOCK = 768  # cells of wide rows that one task computes
SCRATCH_CELLS = 192  # cells of wide rows computed before the pixels among them are copied to the result
TAP_BLOCK = 16  # taps of the weight gradient that one task sums
DOT_CELLS = 512  # cells summed before the next taps: ten rows of them stay in the L1 cache


@kernel
def split(x, top, sy, shifts, sx, planes):
    """Copy each image into padded planes: plane (a, b, i, j) is pixel (i * sy + a - top, j * sx + shifts[b]), or zero.

    Precondition: x (P, H, W), planes (P, sy, shifts, HP, WP). Parallel over P, which owns its plane.
    """
    P, H, W = x.shape
    copies, HP, WP = planes.shape[2:]
    for p in prange(P):
        for a in range(sy):
            for b in range(copies):
                shift = shifts[b]
                first = min(WP, max(0, -(shift // sx)))
                last = max(first, min(WP, -((shift - W) // sx)))
                for i in range(HP):
                    row = planes[p, a, b, i]
                    iy = i * sy + a - top
                    if iy < 0 or iy >= H:
                        row[:] = 0
                        continue
                    row[:first] = 0
                    if sx == 1:
                        row[first:last] = x[p, iy, first + shift : last + shift]
                    else:
                        for j in range(first, last):
                            row[j] = x[p, iy, j * sx + shift]
                    row[last:] = 0


@kernel
def merge(planes, top, left, first_row, first_column, x):
    """Take each pixel from its phase: x[iy, ix] = planes[a, b, i - first_row, j - first_column] for iy = i*sy + a - top.

    Precondition: planes (P, sy, sx, rows, columns), x (P, H, W). Parallel over P, which owns its image.

    Returns:
        How many pixels are NaN or infinite.
    """
    P, H, W = x.shape
    sy, sx = planes.shape[1:3]
    odd = 0
    for p in prange(P):
        for iy in range(H):
            a, i = (iy + top) % sy, (iy + top) // sy - first_row
            for ix in range(W):
                value = planes[p, a, (ix + left) % sx, i, (ix + left) // sx - first_column]
                x[p, iy, ix] = value
                odd += 0 if np.isfinite(value) else 1
    return odd


@kernel
def widen(g, WP, wide):
    """Copy gradient planes into wide rows, zero between the rows of pixels.

    Precondition: g (P, OH, OW), wide (P, Q). Parallel over P, which owns its row.
    """
    P, OH, OW = g.shape
    for p in prange(P):
        for oy in range(OH):
            start = oy * WP
            wide[p, start : start + OW] = g[p, oy]
            wide[p, start + OW : start + WP] = 0  # past the last row: an empty slice


@kernel
def turn(weight, row_phases, row_positions, column_phases, column_positions, turned):
    """turned[group, c, a, b, oc, ty, tx] = weight[group, oc, c, ky, kx] of the tap that reaches phase (a, b) there.

    Precondition: weight (groups, OC, C, KH, KW); turned (groups, C, sy, sx, OC, TH, TW). Parallel over (group, block of
    channels), each of which owns its part.

    Returns:
        How many weights are NaN or infinite.
    """
    groups, OC, C, KH, KW = weight.shape
    blocks = -(-C // 16)  # so many channels of one kernel lie side by side in `weight`
    odd = 0
    for task in prange(groups * blocks):
        group, block = divmod(np.int64(task), blocks)
        first, last = block * 16, min(block * 16 + 16, C)
        turned[group, first:last] = 0
        for oc in range(OC):
            for c in range(first, last):
                for ky in range(KH):
                    a, ty = row_phases[ky], row_positions[ky]
                    for kx in range(KW):
                        value = weight[group, oc, c, ky, kx]
                        turned[group, c, a, column_phases[kx], oc, ty, column_positions[kx]] = value
                        odd += 0 if np.isfinite(value) else 1
    return odd


@helper
def _store(acc, start, q0, m, WP, y):
    """Copy the pixels among the cells q0 ... q0 + m - 1 of a wide row from acc[start:] to the plane y (OH, OW)."""
    OW = y.shape[1]
    flat = y.reshape(-1)
    for oy in range(q0 // WP, (q0 + m - 1) // WP + 1):
        first = max(q0 - oy * WP, 0)
        last = max(first, min(q0 + m - oy * WP, OW))
        source, target = np.uint64(start + oy * WP - q0 + first), np.uint64(oy * OW + first)
        for i in range(np.uint64(last - first)):
            flat[target + i] = acc[source + i]


@kernel
def forward(planes, weight, bias, offsets, groups, image, WP, by_rows, y):
    """y[n, oc] = bias[oc] + sum over taps k of weight[oc, k] * planes[n, offsets[k] + q].

    Cells q are taken row of pixels by row of pixels, or along the whole wide row; the latter straight into y where no
    cell of it is not a pixel.

    Precondition: planes flat, `image` cells for each image; weight (OC, K), bias (OC,), offsets (K,) uint64,
    y (N, OC, OH, OW). Parallel over (image, group, block of output channels, block of cells), each of which owns its
    part of y.
    """
    N, OC, OH, OW = y.shape
    K = offsets.size
    P = OH * OW
    flat, flat_weight = y.reshape(-1), weight.reshape(-1)
    per_group = OC // groups
    blocks = -(-per_group // CHANNEL_BLOCK)
    Q = (OH - 1) * WP + OW
    length = max(PIXEL_BLOCK // WP, 1) * WP if by_rows else PIXEL_BLOCK
    steps = -(-Q // length)
    for task in prange(N * groups * blocks * steps):
        rest, s = divmod(np.int64(task), steps)
        rest, block = divmod(rest, blocks)
        n, group = divmod(rest, groups)
        start, end = s * length, min((s + 1) * length, Q)
        source = n * image + group * (image // groups)
        first = group * per_group + block * CHANNEL_BLOCK
        rows = min(CHANNEL_BLOCK, per_group - block * CHANNEL_BLOCK)
        target = (n * OC + first) * P
        if by_rows:
            for q in range(start, end, WP):
                add_rows(
                    flat, target + q // WP * OW, P, rows, bias, first, True, flat_weight, first * K, K, 1, planes,
                    source + q, offsets, OW,
                )  # fmt: skip
        elif WP == OW:
            add_rows(
                flat, target + start, P, rows, bias, first, True, flat_weight, first * K, K, 1, planes, source + start,
                offsets, end - start,
            )  # fmt: skip
        else:
            acc = np.empty(rows * SCRATCH_CELLS, y.dtype)
            for q in range(start, end, SCRATCH_CELLS):
                m = min(SCRATCH_CELLS, end - q)
                add_rows(
                    acc, 0, m, rows, bias, first, True, flat_weight, first * K, K, 1, planes, source + q, offsets, m
                )
                for i in range(rows):
                    _store(acc, i * m, q, m, WP, y[n, first + i])


@kernel
def weight_gradient(g, planes, offsets, groups, runs, run, g_run, planes_run, grad):
    """grad[oc, k] = sum over images n and pixels of g[n, oc] * planes[n, offsets[k]].

    The pixels of a plane lie in `runs` runs of `run` cells each, `g_run` apart in g and `planes_run` apart in planes.

    Precondition: g (N, OC, cells); planes (N, cells of an image); offsets (K,) uint64; grad (OC, K). Parallel over
    (group, block of output channels, block of taps), each of which owns its part of grad and sums the batch in order.
    """
    N, OC, P = g.shape
    image = planes.shape[1]
    K = offsets.size
    per_group = OC // groups
    tiles, blocks = -(-per_group // DOT_ROWS), -(-K // TAP_BLOCK)
    flat, flat_g = planes.reshape(-1), g.reshape(-1)
    # runs that one tile sums: of one image, or those of several small images
    images = max(1, DOT_CELLS // run) if runs == 1 else 1
    g_step, planes_step = (OC * P, image) if runs == 1 else (g_run, planes_run)
    together = images if runs == 1 else max(1, DOT_CELLS // run)
    for task in prange(groups * tiles * blocks):
        rest, block = divmod(np.int64(task), blocks)
        group, tile = divmod(rest, tiles)
        oc = group * per_group + tile * DOT_ROWS
        rows = min(DOT_ROWS, per_group - tile * DOT_ROWS)
        first, last = block * TAP_BLOCK, min((block + 1) * TAP_BLOCK, K)
        sums = np.zeros((TAP_BLOCK // 4, DOT_ROWS, 4, LANES), grad.dtype)
        for n in range(0, N, images):
            all_runs = min(images, N - n) if runs == 1 else runs
            for r in range(0, all_runs, together):
                for q in range(0, run, DOT_CELLS):
                    a0 = (n * OC + oc) * P + r * g_step + q
                    source = np.uint64(n * image + group * (image // groups) + r * planes_step + q)
                    for k in range(first, last, 4):  # past the last tap, that tap again
                        b0, b1 = source + offsets[k], source + offsets[min(k + 1, K - 1)]
                        b2, b3 = source + offsets[min(k + 2, K - 1)], source + offsets[min(k + 3, K - 1)]
                        add_dots(
                            sums[(k - first) // 4], rows, flat_g, a0, P, g_step, flat, b0, b1, b2, b3, planes_step,
                            min(together, all_runs - r), min(DOT_CELLS, run - q),
                        )  # fmt: skip
        for k in range(first, last):
            quad, j = divmod(k - first, 4)
            for i in range(rows):
                grad[oc + i, k] = lane_sum(sums[quad], i, j)


@kernel
def bias_gradient(g, grad):
    """grad[oc] = sum of g[n, oc, p] over images n and pixels p.

    Precondition: g (N, OC, P), grad (OC,). Parallel over OC, each of which owns its sum.
    """
    N, OC, P = g.shape
    for oc in prange(OC):
        total = grad.dtype.type(0)
        for n in range(N):
            part = grad.dtype.type(0)
            for p in range(P):
                part += g[n, oc, p]
            total += part
        grad[oc] = total
