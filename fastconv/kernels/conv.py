"""Direct convolution and its gradients on wide rows of padded planes (see `ConvGeometry`).

Forward is a matrix product whose right-hand side is never built: y[oc, q] = sum over k of w[oc, k] * x[offsets[k] + q].
The gradient of the input is its transpose, the gradient of the weights a product over the pixels q. Output pixels are
taken in blocks of `length` cells, `step` apart: either blocks of the wide row, whose cells between two rows of pixels
are computed and not used, or single rows of pixels.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import helper, kernel
from fastconv.kernels.simd import add_dots, add_row, add_rows, lane_sum
from fastconv.kernels.tiles import LANES

CHANNEL_BLOCK = 16  # output channels that one task computes: enough work for a task, enough tasks for one image
TAP_BLOCK = 16  # taps of the weight gradient that one task sums


@kernel
def split(x, top, left, sy, sx, planes):
    """Copy each image into padded planes, split into sy * sx phases.

    Precondition: x (P, H, W), planes (P, sy, sx, HP, WP). Parallel over P, which owns its plane.
    """
    P, H, W = x.shape
    HP, WP = planes.shape[3:]
    for p in prange(P):
        for a in range(sy):
            for b in range(sx):
                first = max(0, -((b - left) // sx))
                last = max(first, min(WP, -((b - left - W) // sx)))
                for i in range(HP):
                    row = planes[p, a, b, i]
                    iy = i * sy + a - top
                    if iy < 0 or iy >= H:
                        row[:] = 0
                        continue
                    row[:first] = 0
                    if sx == 1:
                        row[first:last] = x[p, iy, first - left : last - left]
                    else:
                        for j in range(first, last):
                            row[j] = x[p, iy, j * sx + b - left]
                    row[last:] = 0


@kernel
def merge(planes, top, left, x):
    """The transpose of `split`: take each pixel from its phase, drop the padding.

    Precondition: planes (P, sy, sx, HP, WP), x (P, H, W). Parallel over P, which owns its image.
    """
    P, H, W = x.shape
    sy, sx = planes.shape[1:3]
    for p in prange(P):
        for iy in range(H):
            a, i = (iy + top) % sy, (iy + top) // sy
            for ix in range(W):
                x[p, iy, ix] = planes[p, a, (ix + left) % sx, i, (ix + left) // sx]


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
def forward(planes, weight, bias, offsets, groups, image, WP, step, length, y):
    """y[n, oc] = bias[oc] + sum over taps k of weight[oc, k] * planes[n, offsets[k] + q], for q in blocks.

    Precondition: planes flat, `image` cells for each image; weight (OC, K), bias (OC,), offsets (K,) uint64,
    y (N, OC, OH, OW). Parallel over (image, group, block of output channels, block of pixels), each of which owns its
    part of y.
    """
    N, OC, OH, OW = y.shape
    K = offsets.size
    flat_weight = weight.reshape(-1)
    per_group = OC // groups
    blocks = -(-per_group // CHANNEL_BLOCK)
    Q = (OH - 1) * WP + OW
    steps = -(-Q // step)
    for task in prange(N * groups * blocks * steps):
        rest, s = divmod(np.int64(task), steps)
        rest, block = divmod(rest, blocks)
        n, group = divmod(rest, groups)
        q0 = s * step
        m = min(length, Q - q0)
        source = np.uint64(n * image + group * (image // groups) + q0)
        first = group * per_group + block * CHANNEL_BLOCK
        last = min(first + CHANNEL_BLOCK, (group + 1) * per_group)
        acc = np.empty(2 * m, y.dtype)
        for oc in range(first, last, 2):
            partner = min(oc + 1, last - 1)  # an odd channel is computed twice and stored once
            acc[:m] = bias[oc]
            acc[m:] = bias[partner]
            add_rows(
                acc, np.uint64(0), np.uint64(m), flat_weight, oc * K, partner * K, planes, source, offsets, np.uint64(m)
            )
            _store(acc, 0, q0, m, WP, y[n, oc])
            if partner != oc:
                _store(acc, m, q0, m, WP, y[n, partner])


@kernel
def input_gradient(wide, weight, windows, rows, groups, step, length, planes):
    """planes[n, c, windows[t] + q] = sum over oc of weight[c, t, oc] * wide[n, oc, q], summed over taps t and pixels q.

    Precondition: wide (N, OC, Q); weight (groups, C/groups, T, OC/groups); windows (T,) and rows (OC/groups,) uint64,
    the latter the offsets of wide's rows; planes (N, C, cells). Parallel over (image, group, pair of channels), each of
    which owns its planes.
    """
    N, OC, Q = wide.shape
    _, C, cells = planes.shape
    T, per_group = weight.shape[2:]
    channels = C // groups
    pairs = -(-channels // 2)
    flat, flat_wide, flat_weight = planes.reshape(-1), wide.reshape(-1), weight.reshape(-1)
    for task in prange(N * groups * pairs):
        rest, couple = divmod(np.int64(task), pairs)
        n, group = divmod(rest, groups)
        c = group * channels + 2 * couple
        alone = 2 * couple + 1 == channels
        planes[n, c] = 0
        if not alone:
            planes[n, c + 1] = 0
        target = np.uint64((n * C + c) * cells)
        for q0 in range(0, Q, step):
            m = np.uint64(min(length, Q - q0))
            source = np.uint64((n * OC + group * per_group) * Q + q0)
            for t in range(T):
                c0 = target + windows[t] + np.uint64(q0)
                a0 = (c * T + t) * per_group
                if alone:
                    add_row(flat, c0, flat_weight, a0, flat_wide, source, rows, m)
                else:
                    c1, a1 = c0 + np.uint64(cells), a0 + T * per_group
                    add_rows(flat, c0, c1, flat_weight, a0, a1, flat_wide, source, rows, m)


@kernel
def weight_gradient(wide, planes, offsets, groups, step, length, grad):
    """grad[oc, k] = sum over images n and pixels q of wide[n, oc, q] * planes[n, offsets[k] + q].

    Precondition: wide (N, OC, Q); planes (N, cells of an image); offsets (K,) uint64; grad (OC, K). Parallel over
    (group, pair of output channels, block of taps), each of which owns its part of grad and sums the batch in order.
    """
    N, OC, Q = wide.shape
    image = planes.shape[1]
    K = offsets.size
    per_group = OC // groups
    pairs, blocks = -(-per_group // 2), -(-K // TAP_BLOCK)
    flat, flat_wide = planes.reshape(-1), wide.reshape(-1)
    for task in prange(groups * pairs * blocks):
        rest, block = divmod(np.int64(task), blocks)
        group, couple = divmod(rest, pairs)
        oc = group * per_group + 2 * couple
        partner = min(oc + 1, (group + 1) * per_group - 1)
        first, last = block * TAP_BLOCK, min((block + 1) * TAP_BLOCK, K)
        sums = np.zeros((TAP_BLOCK // 2, 4, LANES), grad.dtype)
        for n in range(N):
            base = n * image + group * (image // groups)
            for q0 in range(0, Q, step):
                m = np.uint64(min(length, Q - q0))
                a0, a1 = np.uint64((n * OC + oc) * Q + q0), np.uint64((n * OC + partner) * Q + q0)
                source = np.uint64(base + q0)
                for k in range(first, last, 4):  # past the last tap, that tap again
                    b0, b1 = source + offsets[k], source + offsets[min(k + 1, K - 1)]
                    b2, b3 = source + offsets[min(k + 2, K - 1)], source + offsets[min(k + 3, K - 1)]
                    add_dots(sums, (k - first) // 2, flat_wide, a0, a1, flat, b0, b1, b2, b3, m)
        for k in range(first, last):
            quad, j = divmod(k - first, 4)
            grad[oc, k] = lane_sum(sums, 2 * quad, j)
            grad[partner, k] = lane_sum(sums, 2 * quad + (partner - oc), j)


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
