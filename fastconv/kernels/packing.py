"""What is moved around a convolution: padded planes and their phases, weights by stride phase, transposed arrays."""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div, valid_range
from fastconv._runtime.jit import inlined, kernel, sized_kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.micro.copy import copy_rows, transpose

BLOCK = 768  # rows and columns that one task transposes


@inlined
def split_plane(x, x0, H, W, top, sy, shifts, sx, planes, start, HP, WP, fresh):
    """Copy an image's plane x[x0:] into padded planes[start:], (sy, shifts, HP, WP) cells; see `split`.

    Unless these are `fresh`, the rows above and below the image are still zeros.
    """
    copies, zero, one = shifts.size, np.int64(0), np.int64(1)
    for a in range(sy):
        # rows above and below the image are copied as nothing but zeros
        begin, end = valid_range(a - top, sy, H, HP)
        for b in range(copies):
            shift = shifts[b]
            first, last = valid_range(shift, sx, W, WP)
            target = start + (a * copies + b) * HP * WP
            source = x0 + (begin * sy + a - top) * W + shift
            copy_rows(end - begin, planes, target + begin * WP, WP, x, source, sy * W, sx, first, last, WP)
            if fresh and begin > 0:
                copy_rows(begin, planes, target, WP, x, zero, zero, one, zero, zero, WP)
            if fresh and end < HP:
                copy_rows(HP - end, planes, target + end * WP, WP, x, zero, zero, one, zero, zero, WP)


@kernel
def split(team, x, top, sy, shifts, sx, planes):
    """Copy each image into padded planes: plane (a, b, i, j) is pixel (i * sy + a - top, j * sx + shifts[b]), or zero.

    Precondition: x (P, H, W), planes (P, sy, shifts, HP, WP). Parallel over P, which owns its plane.
    """
    P, H, W = x.shape
    copies, HP, WP = planes.shape[2:]
    flat, flat_x = planes.reshape(-1), x.reshape(-1)
    for p in prange(team, P):
        split_plane(flat_x, p * H * W, H, W, top, sy, shifts, sx, flat, p * sy * copies * HP * WP, HP, WP, True)


@kernel
def merge(team, planes, plane, phase, sy, sx, place, x) -> int:
    """Take each pixel from its phase: x[p, iy, ix] = phase (a, b) of p at row i - first_row, column j - first_column.

    Where iy = i*sy + a - top and ix = j*sx + b - left, a phase's rows are `columns` long, and `place` is (columns, top,
    left, first_row, first_column).

    Precondition: planes flat, phase (a, b) of p at p*plane + (a*sx + b)*phase; x (P, H, W). Parallel over P, which owns
    its image.

    Returns:
        How many images have a pixel that is NaN or infinite.
    """
    P, H, W = x.shape
    columns, top, left, first_row, first_column = place
    flat = x.reshape(-1)
    odd = 0
    for p in prange(team, P):
        check = x.dtype.type(0)
        for iy in range(H):
            a, i = (iy + top) % sy, (iy + top) // sy - first_row
            target, start = np.uint64((p * H + iy) * W), p * plane + a * sx * phase + i * columns - first_column
            done = 0
            if sx == 2:
                # both phases in one loop, of which LLVM makes vectors (measured: a quarter of the time)
                done = W // 2 * 2
                first = np.uint64(start + left % 2 * phase + left // 2)
                second = np.uint64(start + (left + 1) % 2 * phase + (left + 1) // 2)
                for j in range(np.uint64(W // 2)):
                    even, odd_one = planes[first + j], planes[second + j]
                    flat[target + j * np.uint64(2)] = even
                    flat[target + j * np.uint64(2) + np.uint64(1)] = odd_one
                    check += (even - even) + (odd_one - odd_one)
            for ix in range(done, min(done + sx, W)):
                source = np.uint64(start + (ix + left) % sx * phase + (ix + left) // sx)
                for j in range(np.uint64(ceil_div(W - ix, sx))):
                    value = planes[source + j]
                    flat[target + np.uint64(ix) + j * np.uint64(sx)] = value
                    check += value - value  # NaN from what is not finite
        odd += 0 if check == 0 else 1
    return odd


@kernel
def widen(team, g, WP, wide):
    """Copy gradient planes into wide rows, zero between the rows of pixels.

    Precondition: g (P, OH, OW), wide (P, Q). Parallel over P, which owns its row.
    """
    P, OH, OW = g.shape
    Q = wide.shape[1]
    flat, flat_g = wide.reshape(-1), g.reshape(-1)
    zero, one = np.int64(0), np.int64(1)
    for p in prange(team, P):
        copy_rows(OH - 1, flat, p * Q, WP, flat_g, p * OH * OW, OW, one, zero, OW, WP)
        copy_rows(one, flat, p * Q + (OH - 1) * WP, zero, flat_g, (p * OH + OH - 1) * OW, zero, one, zero, OW, OW)


@kernel
def gather_weights(team, weight, row_phases, row_positions, column_phases, column_positions, by_phase):
    """by_phase[group, c, a, b, oc, ty, tx] = weight[group, oc, c, ky, kx] of the tap that reaches phase (a, b) there.

    Precondition: weight (groups, OC, C, KH, KW); by_phase (groups, C, sy, sx, OC, TH, TW). Parallel over (group, block
    of channels), each of which owns its part.
    """
    groups, OC, C, KH, KW = weight.shape
    blocks = ceil_div(C, 16)  # that number of channels of one kernel lie side by side in `weight`
    for task in prange(team, groups * blocks):
        group, block = divmod(task, blocks)
        first, last = block * 16, min(block * 16 + 16, C)
        by_phase[group, first:last] = 0
        for oc in range(OC):
            for c in range(first, last):
                for ky in range(KH):
                    a, ty = row_phases[ky], row_positions[ky]
                    for kx in range(KW):
                        b, tx = column_phases[kx], column_positions[kx]
                        by_phase[group, c, a, b, oc, ty, tx] = weight[group, oc, c, ky, kx]


@kernel
def transpose_gradient(team, g, last, groups, width, moved):
    """moved[n, group, block, p, j] = g[n, channel block * width + j of the group, p]: pixels one behind the other.

    Precondition: g (N, OC, P), or (N, P, OC) where channels are `last`; moved flat, N * groups * blocks * P * width
    cells, of which those past the last channel stay as they are. Parallel over (n, group, block), which owns its part.
    """
    N, OC, P = (g.shape[0], g.shape[2], g.shape[1]) if last else g.shape
    per_group = OC // groups
    blocks = ceil_div(per_group, width)
    flat = g.reshape(-1)
    for task in prange(team, N * groups * blocks):
        rest, block = divmod(task, blocks)
        n, group = divmod(rest, groups)
        first, columns = group * per_group + block * width, min(width, per_group - block * width)
        transpose_block(moved, task * P * width, flat, n, first, np.int64(0), P, columns, OC, P, last, width)


@inlined
def transpose_block(moved, start, g, n, first, p, pixels, columns, OC, P, last, width):
    """moved[start + q*width + j] = g[n, first + j, p + q] for q < pixels and j < columns."""
    if last:
        zero, one = np.int64(0), np.int64(1)
        copy_rows(pixels, moved, start, width, g, (n * P + p) * OC + first, OC, one, zero, columns, columns)
    else:
        transpose(moved, start, g, (n * OC + first) * P + p, columns, pixels, width, P)


@sized_kernel
def transposed(team, a, b):
    """b[n] = a[n].T. Precondition: a (N, M, P), b (N, P, M). Parallel over blocks of b, each its own."""
    N, M, P = a.shape
    bands, blocks = ceil_div(M, BLOCK), ceil_div(P, BLOCK)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for task in prange(team, N * bands * blocks):
        rest, block = divmod(task, blocks)
        n, band = divmod(rest, bands)
        m, p = band * BLOCK, block * BLOCK
        target, source = (n * P + p) * M + m, (n * M + m) * P + p
        transpose(flat_b, target, flat_a, source, min(BLOCK, M - m), min(BLOCK, P - p), M, P)


@sized_kernel
def all_finite(team, a) -> bool:
    """Whether no element of a flat array is NaN or infinite. Parallel over blocks."""
    blocks = ceil_div(a.size, 4096)
    odd = 0
    for block in prange(team, blocks):
        check = a.dtype.type(0)
        for i in range(np.uint64(block * 4096), np.uint64(min((block + 1) * 4096, a.size))):
            check += a[i] * 0  # NaN from what is not finite
        odd += 0 if check == 0 else 1
    return odd == 0
