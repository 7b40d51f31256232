"""Direct convolution and its gradients on wide rows of padded planes (see `ConvGeometry`).

Forward is a matrix product whose right-hand side is never built: y[oc, q] = sum over k of w[oc, k] * x[offsets[k] + q].
The gradient of the input is a convolution of the output gradient, with turned weights; the gradient of the weights is a
product over the pixels q.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import inlined, kernel
from fastconv.kernels.simd import DOT_ROWS, TERM_BLOCK, add_dots, add_rows, copy_rows, lane_sum, row_offsets, transpose
from fastconv.kernels.tiles import LANES, TILE_ROWS, TILE_VECTORS

CHANNEL_BLOCK = 128  # output channels that one task computes: their weights, of a block of terms, stay in the L2 cache
PIXEL_BLOCK = 768  # cells of wide rows that one task computes, about
RUN_CELLS = 1024  # cells of small planes that one task computes, those of several images together
EVEN_TASKS = 32  # from so many tasks on it does not matter whether threads can share them evenly
SCRATCH_CELLS = 192  # cells of wide rows computed before the pixels among them are copied to the result
IMAGE_SHARES = 64  # shares of a batch: enough for many threads, each with one image's planes in flight
TAP_BLOCK = 16  # taps of the weight gradient that one task sums
TURNED_TAPS = 96  # taps of the weight gradient that one task sums with its gradient transposed, fewer where that
TURNED_TASKS = 16  # would leave less than so many tasks
DOT_CELLS = 512  # cells summed before the next taps: ten rows of them stay in the L1 cache


@inlined
def _split_plane(x, x0, H, W, top, sy, shifts, sx, planes, start, HP, WP):
    """Copy an image's plane x[x0:] into padded planes[start:], (sy, shifts, HP, WP) cells; see `split`."""
    copies, zero, one = shifts.size, np.int64(0), np.int64(1)
    for a in range(sy):
        # rows above and below the image are copied as nothing but zeros
        begin = min(HP, max(0, -((a - top) // sy)))
        end = max(begin, min(HP, -((a - top - H) // sy)))
        for b in range(copies):
            shift = shifts[b]
            first = min(WP, max(0, -(shift // sx)))
            last = max(first, min(WP, -((shift - W) // sx)))
            target = start + (a * copies + b) * HP * WP
            source = x0 + (begin * sy + a - top) * W + shift
            copy_rows(begin, planes, target, WP, x, zero, zero, one, zero, zero, WP)
            copy_rows(end - begin, planes, target + begin * WP, WP, x, source, sy * W, sx, first, last, WP)
            copy_rows(HP - end, planes, target + end * WP, WP, x, zero, zero, one, zero, zero, WP)


@kernel
def split(x, top, sy, shifts, sx, planes):
    """Copy each image into padded planes: plane (a, b, i, j) is pixel (i * sy + a - top, j * sx + shifts[b]), or zero.

    Precondition: x (P, H, W), planes (P, sy, shifts, HP, WP). Parallel over P, which owns its plane.
    """
    P, H, W = x.shape
    copies, HP, WP = planes.shape[2:]
    flat, flat_x = planes.reshape(-1), x.reshape(-1)
    for p in prange(P):
        _split_plane(flat_x, p * H * W, H, W, top, sy, shifts, sx, flat, p * sy * copies * HP * WP, HP, WP)


@kernel
def merge(planes, top, left, first_row, first_column, x):
    """Take each pixel from its phase: x[iy, ix] = planes[a, b, i - first_row, j - first_column].

    Where iy = i*sy + a - top and ix = j*sx + b - left.

    Precondition: planes (P, sy, sx, rows, columns), x (P, H, W). Parallel over P, which owns its image.

    Returns:
        How many images have a pixel that is NaN or infinite.
    """
    P, H, W = x.shape
    sy, sx = planes.shape[1:3]
    odd = 0
    for p in prange(P):
        check = x.dtype.type(0)
        for iy in range(H):
            a, i = (iy + top) % sy, (iy + top) // sy - first_row
            for start in range(min(sx, W)):
                row = planes[p, a, (start + left) % sx, i]
                j = np.uint64((start + left) // sx - first_column)
                for step in range(np.uint64(-(-(W - start) // sx))):
                    value = row[j + step]
                    x[p, iy, np.uint64(start) + step * np.uint64(sx)] = value
                    check += value * 0  # NaN from what is not finite
        odd += 0 if check == 0 else 1
    return odd


@kernel
def widen(g, WP, wide):
    """Copy gradient planes into wide rows, zero between the rows of pixels.

    Precondition: g (P, OH, OW), wide (P, Q). Parallel over P, which owns its row.
    """
    P, OH, OW = g.shape
    Q = wide.shape[1]
    flat, flat_g = wide.reshape(-1), g.reshape(-1)
    zero, one = np.int64(0), np.int64(1)
    for p in prange(P):
        copy_rows(OH - 1, flat, p * Q, WP, flat_g, p * OH * OW, OW, one, zero, OW, WP)
        copy_rows(one, flat, p * Q + (OH - 1) * WP, zero, flat_g, (p * OH + OH - 1) * OW, zero, one, zero, OW, OW)


@kernel
def turn(weight, row_phases, row_positions, column_phases, column_positions, turned):
    """turned[group, c, a, b, oc, ty, tx] = weight[group, oc, c, ky, kx] of the tap that reaches phase (a, b) there.

    Precondition: weight (groups, OC, C, KH, KW); turned (groups, C, sy, sx, OC, TH, TW). Parallel over (group, block of
    channels), each of which owns its part.
    """
    groups, OC, C, KH, KW = weight.shape
    blocks = -(-C // 16)  # so many channels of one kernel lie side by side in `weight`
    for task in prange(groups * blocks):
        group, block = divmod(np.int64(task), blocks)
        first, last = block * 16, min(block * 16 + 16, C)
        turned[group, first:last] = 0
        for oc in range(OC):
            for c in range(first, last):
                for ky in range(KH):
                    a, ty = row_phases[ky], row_positions[ky]
                    for kx in range(KW):
                        b, tx = column_phases[kx], column_positions[kx]
                        turned[group, c, a, b, oc, ty, tx] = weight[group, oc, c, ky, kx]


@inlined
def _store(acc, start, row, rows, q0, m, WP, y, target, plane, OW):
    """Copy the pixels among the cells q0 ... q0 + m - 1 of wide rows, acc[start:], to planes y[target:]."""
    zero, one = np.int64(0), np.int64(1)
    if WP == OW:
        copy_rows(rows, y, target + q0, plane, acc, start, row, one, zero, m, m)
        return
    for oy in range(q0 // WP, (q0 + m - 1) // WP + 1):
        first = max(q0 - oy * WP, 0)
        pixels = max(min(q0 + m - oy * WP, OW) - first, 0)
        source = start + oy * WP - q0 + first
        copy_rows(rows, y, target + oy * OW + first, plane, acc, source, row, one, zero, pixels, pixels)


@inlined
def _convolve(
    planes, source, image, images, weight, weight_rows, weight_terms, bias, floor, offsets, first, rows, WP, by_rows,
    start, end, y, target, y_image, P, OW,
):  # fmt: skip
    """Compute the cells start ... end - 1 of `rows` output channels from `first` on, into planes of y[target:].

    Row of pixels by row of pixels, or along the whole wide row, then of `images` images together. The sums go straight
    to y where each cell is a pixel and all terms are summed at once. Otherwise they are kept in a scratch array: a
    plane's size is often a multiple of 4096 bytes, and then the same pixels of a few channels fill their cache sets.
    """
    zero, one, fresh = np.int64(0), np.int64(1), np.bool_(True)
    if offsets.size <= TERM_BLOCK and (by_rows or WP == OW):
        runs, run = (-(-(end - start) // WP), OW) if by_rows else (images, end - start)
        y_run, run_step = (OW, WP) if by_rows else (y_image, image)
        add_rows(
            y, target + start // WP * OW + start % WP, P, y_run, rows, bias, first, fresh, floor, weight, zero,
            weight_rows, weight_terms, planes, source + start, run_step, offsets, runs, run,
        )  # fmt: skip
        return
    step = max(1, SCRATCH_CELLS // WP) * WP if by_rows else end - start if images > 1 else SCRATCH_CELLS
    acc = np.empty(rows * images * step, y.dtype)
    for q in range(start, end, step):
        m = min(step, end - q)
        runs, run = (-(-m // WP), OW) if by_rows else (images, m)
        row = runs * run
        add_rows(
            acc, zero, row, run, rows, bias, first, fresh, floor, weight, zero, weight_rows, weight_terms, planes,
            source + q, WP if by_rows else image, offsets, runs, run,
        )  # fmt: skip
        if by_rows:
            copy_rows(rows, y, target + q // WP * OW, P, acc, zero, row, one, zero, row, row)
        else:
            for i in range(images):
                _store(acc, i * m, row, rows, q, m, WP, y, target + i * y_image, P, OW)


@inlined
def _steps(tasks, most, least):
    """Into how many steps each of so many tasks is cut: `least`, or more where few tasks would share unevenly."""
    steps = max(least, 1)
    while tasks * steps < EVEN_TASKS and tasks * steps % 8 and steps < most:
        steps += 1
    return steps


@kernel
def forward(planes, weight, weight_rows, weight_terms, bias, floor, offsets, groups, image, WP, by_rows, y):
    """y[n, oc, q] = bias[oc] + sum over k of weight[weight_rows[oc] + weight_terms[k]] * planes[n, offsets[k] + q].

    The k are the taps. Results up to `floor` are stored as `floor`.

    Precondition: planes flat, `image` cells for each image; weight flat; weight_rows (OC,), weight_terms and offsets
    (K,) uint64; bias (OC,); y (N, OC, OH, OW). Parallel over (image, group, block of cells, block of output channels),
    each of which owns its part of y.
    """
    N, OC, OH, OW = y.shape
    P = OH * OW
    flat = y.reshape(-1)
    per_group = OC // groups
    Q = (OH - 1) * WP + OW
    together = max(1, min(N, RUN_CELLS // Q))  # small planes of several images use each weight more often
    parts = -(-N // together)
    blocks = -(-per_group // (CHANNEL_BLOCK // 2 if together > 1 else CHANNEL_BLOCK))
    channels = -(-per_group // blocks)
    steps = _steps(parts * groups * blocks, OH if by_rows else -(-Q // LANES), -(-Q // PIXEL_BLOCK))
    if together > 1:
        steps = 1
    length = -(-OH // steps) * WP if by_rows else -(-Q // (steps * LANES)) * LANES
    steps = -(-Q // length)  # rounded up, the steps may be fewer; empty ones would all be the last thread's
    for task in prange(parts * groups * steps * blocks):
        # all channels of a block of cells before the next cells: its part of the planes stays in the L2 cache
        rest, block = divmod(np.int64(task), blocks)
        rest, s = divmod(rest, steps)
        part, group = divmod(rest, groups)
        n = part * together
        first = group * per_group + block * channels
        rows = min(channels, (group + 1) * per_group - first)
        # by rows there are no runs of several images, but images one after another
        for i in range(min(together, N - n) if by_rows else 1):
            _convolve(
                planes, (n + i) * image + group * (image // groups), image, 1 if by_rows else min(together, N - n),
                weight, weight_rows, weight_terms, bias, floor, offsets, first, rows, WP, by_rows, min(s * length, Q),
                min((s + 1) * length, Q), flat, ((n + i) * OC + first) * P, OC * P, P, OW,
            )  # fmt: skip


@kernel
def split_and_forward(
    x, top, sy, shifts, sx, HP, weight, weight_rows, weight_terms, bias, floor, offsets, groups, WP, by_rows, y
):
    """`split` and `forward`, one group of an image after another, so that its planes stay in the cache.

    Precondition: as for those two, x (N, C, H, W). Parallel over shares of the images' groups, each of which owns its
    part of y.
    """
    N, C, H, W = x.shape
    OC, OH, OW = y.shape[1:]
    P = OH * OW
    flat, flat_x = y.reshape(-1), x.reshape(-1)
    channels, per_group, plane = C // groups, OC // groups, sy * shifts.size * HP * WP
    Q = (OH - 1) * WP + OW
    shares, zero, one = min(N * groups, IMAGE_SHARES), np.int64(0), np.int64(1)
    for share in prange(shares):
        planes = np.empty(channels * plane, x.dtype)
        for item in range(share * N * groups // shares, (share + 1) * N * groups // shares):
            n, group = divmod(item, groups)
            source = (n * C + group * channels) * H * W
            for c in range(channels):
                _split_plane(flat_x, source + c * H * W, H, W, top, sy, shifts, sx, planes, c * plane, HP, WP)
            for first in range(group * per_group, (group + 1) * per_group, CHANNEL_BLOCK):
                rows = min(CHANNEL_BLOCK, (group + 1) * per_group - first)
                _convolve(
                    planes, zero, zero, one, weight, weight_rows, weight_terms, bias, floor, offsets, first, rows,
                    WP, by_rows, zero, Q, flat, (n * OC + first) * P, zero, P, OW,
                )  # fmt: skip


@kernel
def input_gradient(g, weight, weight_rows, weight_terms, windows, groups, runs, run, g_run, planes_run, planes):
    """planes[n, c, windows[t] + q] = sum over oc of weight[.. c, t, oc] * g[n, oc, q], summed over taps t and pixels q.

    The weight of (c, t, oc) lies at weight_rows[c] + t + weight_terms[oc]; the runs of pixels are as for
    `weight_gradient`.

    Precondition: g (N, OC, cells); weight flat; weight_rows (C,), weight_terms (OC/groups,), windows (T,) uint64;
    planes (N, C, cells), overwritten. Parallel over (image, group), each of which owns its planes.
    """
    N, OC, Q = g.shape
    _, C, cells = planes.shape
    channels, per_group = C // groups, OC // groups
    flat, flat_g = planes.reshape(-1), g.reshape(-1)
    offsets, nothing, lowest = row_offsets(per_group, Q), np.zeros(C, g.dtype), g.dtype.type(-np.inf)
    fresh = np.bool_(False)
    for task in prange(N * groups):
        n, group = divmod(np.int64(task), groups)
        first = group * channels
        planes[n, first : first + channels] = 0
        target, source = (n * C + first) * cells, (n * OC + group * per_group) * Q
        together = max(1, SCRATCH_CELLS // run)
        for r in range(0, runs, together):
            for q in range(0, run, SCRATCH_CELLS):
                for t in range(windows.size):
                    add_rows(
                        flat, target + np.int64(windows[t]) + r * planes_run + q, cells, planes_run, channels, nothing,
                        first, fresh, lowest, weight, t, weight_rows, weight_terms, flat_g, source + r * g_run + q,
                        g_run, offsets, min(together, runs - r), min(SCRATCH_CELLS, run - q),
                    )  # fmt: skip


@kernel
def all_finite(a):
    """Whether no element of a flat array is NaN or infinite. Parallel over blocks."""
    blocks = -(-a.size // 4096)
    odd = 0
    for block in prange(blocks):
        check = a.dtype.type(0)
        for i in range(np.uint64(block * 4096), np.uint64(min((block + 1) * 4096, a.size))):
            check += a[i] * 0  # NaN from what is not finite
        odd += 0 if check == 0 else 1
    return odd == 0


@kernel
def transposed(a, b):
    """b[n] = a[n].T. Precondition: a (N, M, P), b (N, P, M). Parallel over (n, block of rows of b), its own."""
    N, M, P = a.shape
    blocks = -(-P // PIXEL_BLOCK)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for task in prange(N * blocks):
        n, block = divmod(np.int64(task), blocks)
        first = block * PIXEL_BLOCK
        transpose(flat_b, (n * P + first) * M, flat_a, n * M * P + first, M, min(PIXEL_BLOCK, P - first), M, P)


@kernel
def turn_gradient(g, width, turned):
    """turned[n, block, p, j] = g[n, block * width + j, p]: pixels of a block of channels one behind the other.

    Precondition: g (N, OC, P); turned flat, N * blocks * P * width cells, of which those past the last channel stay as
    they are. Parallel over (n, block), which owns its part.
    """
    N, OC, P = g.shape
    blocks = -(-OC // width)
    flat = g.reshape(-1)
    for task in prange(N * blocks):
        n, block = divmod(np.int64(task), blocks)
        oc = block * width
        transpose(turned, task * P * width, flat, (n * OC + oc) * P, min(width, OC - oc), P, width, P)


@kernel
def weight_gradient_sharded(g, planes, offsets, pixels, parts):
    """parts[s, group, k, oc] = sum over the pixels p of shard s of planes[n, offsets[k] + pixels[p]] * g[n, oc, p].

    A shard is a run of blocks of pixels, through the batch; each is transposed before it is used.

    Precondition: g (N, OC, P); planes (N, cells of an image), offsets (K,) and pixels (P,) uint64; parts
    (shards, groups, K, OC/groups). Parallel over (shard, group), each of which owns its part.
    """
    N, OC, P = g.shape
    image = planes.shape[1]
    shards, groups, K, per_group = parts.shape
    flat, flat_g, flat_parts = planes.reshape(-1), g.reshape(-1), parts.reshape(-1)
    size = min(P, TERM_BLOCK)
    blocks = -(-P // size)
    width = min(per_group, TILE_VECTORS * LANES)
    nothing, lowest = np.zeros(K, g.dtype), g.dtype.type(-np.inf)
    zero, one = np.int64(0), np.int64(1)
    offsets_of_pixels = row_offsets(size, width)
    for task in prange(shards * groups):
        shard, group = divmod(np.int64(task), groups)
        parts[shard, group] = 0
        turned = np.empty(size * width, g.dtype)
        for item in range(shard * N * blocks // shards, (shard + 1) * N * blocks // shards):
            n, block = divmod(item, blocks)
            p = block * size
            m = min(size, P - p)
            source = n * image + group * (image // groups)
            for oc in range(0, per_group, width):
                columns = min(width, per_group - oc)
                transpose(turned, zero, flat_g, (n * OC + group * per_group + oc) * P + p, columns, m, width, P)
                add_rows(
                    flat_parts, task * K * per_group + oc, per_group, zero, K, nothing, zero, np.bool_(False), lowest,
                    flat, source, offsets, pixels[p : p + m], turned, zero, zero, offsets_of_pixels[:m], one, columns,
                )  # fmt: skip


@kernel
def add_parts(parts, total):
    """Sum parts (S, n) over the first axis into total (n,), in order. Parallel over n."""
    S, n = parts.shape
    blocks = -(-n // 1024)
    for block in prange(blocks):
        first, last = np.uint64(block * 1024), np.uint64(min((block + 1) * 1024, n))
        for i in range(first, last):
            total[i] = parts[0, i]
        for s in range(1, S):
            for i in range(first, last):
                total[i] += parts[s, i]


@kernel
def weight_gradient_turned(turned, planes, offsets, pixels, width, grad):
    """grad[group, k, oc] = sum over images n and pixels p of planes[n, offsets[k] + pixels[p]] * g[n, group, oc, p].

    Precondition: turned (N, groups, cells), g as `turn_gradient` leaves it; planes (N, cells of an image), offsets (K,)
    and pixels (P,) uint64, grad (groups, K, OC/groups). Parallel over (group, block of taps, block of channels), each
    of which owns its part of grad and sums the batch in order.
    """
    N, groups, cells = turned.shape
    image = planes.shape[1]
    _, K, per_group = grad.shape
    P = pixels.size
    steps = -(-per_group // width)
    share = -(-K * groups * steps // TURNED_TASKS)
    taps = min(TURNED_TAPS, -(-share // TILE_ROWS) * TILE_ROWS)
    blocks = -(-K // taps)
    rows_of_pixels = row_offsets(P, width)
    flat, flat_turned, flat_grad = planes.reshape(-1), turned.reshape(-1), grad.reshape(-1)
    nothing, lowest = np.zeros(K, grad.dtype), grad.dtype.type(-np.inf)
    zero, one = np.int64(0), np.int64(1)
    for task in prange(groups * blocks * steps):
        rest, s = divmod(np.int64(task), steps)
        group, block = divmod(rest, blocks)
        k, oc = block * taps, s * width
        for n in range(N):
            add_rows(
                flat_grad, (group * K + k) * per_group + oc, per_group, zero, min(taps, K - k), nothing, k, n == 0,
                lowest, flat, n * image + group * (image // groups), offsets, pixels, flat_turned,
                (n * groups + group) * cells + s * P * width, zero, rows_of_pixels, one, min(width, per_group - oc),
            )  # fmt: skip


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
                    source = np.int64(n * image + group * (image // groups) + r * planes_step + q)
                    for k in range(first, last, 4):  # past the last tap, that tap again
                        b0, b1 = source + np.int64(offsets[k]), source + np.int64(offsets[min(k + 1, K - 1)])
                        b2 = source + np.int64(offsets[min(k + 2, K - 1)])
                        b3 = source + np.int64(offsets[min(k + 3, K - 1)])
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
