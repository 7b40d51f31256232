"""Direct convolution with vectors along the output channels, whose weights are packed for it.

The image need not be padded: at the border, the taps that lie in the padding are left out (see `Areas`).
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.partition import block_begin, even_part, even_parts, even_shares, tile_blocks
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import inlined, kernel, kernel_after
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import aligned, chain_of
from fastconv.kernels.indirection import list_pixels, row_offsets
from fastconv.kernels.micro.copy import copy_rows, transpose
from fastconv.kernels.micro.gemm import add_to_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel
from fastconv.kernels.micro.vectors import VECTOR_BYTES


@inlined
def _pack(weight, start, row, outer, inner, inners, k0, terms, channels, packed, width):
    """packed[(k - k0)*width + j] = weight[start + j*row + k // inners * outer + k % inners * inner].

    For k0 <= k < k0 + terms and j < channels.
    """
    k, end, zero, one = k0, k0 + terms, np.int64(0), np.int64(1)
    while k < end:
        i = k % inners
        m = end - k if inner == 1 and outer == inners else min(inners - i, end - k)
        source, target = start + k // inners * outer + i * inner, (k - k0) * width
        if row == 1:
            copy_rows(m, packed, target, width, weight, source, inner, one, zero, channels, channels)
        elif inner == 1:
            transpose(packed, target, weight, source, channels, m, width, row)
        else:  # from last to first
            transpose(packed, target + (m - 1) * width, weight, source - m + 1, channels, m, -width, row)
        k += m


@inlined
def _pack_part(weight, weight0, row, outer, inner, inners, packed, task, at_once):
    """Pack some terms of a block of channels, for `forward_packed`; 0, or 1 if not all of them are finite."""
    groups, blocks, K, width = packed.shape
    per_group, lanes = weight.size // (groups * K), VECTOR_BYTES // weight.itemsize
    rest, share = divmod(task, ceil_div(K, at_once))
    group, block = divmod(rest, blocks)
    begin = block_begin(per_group, blocks, block, lanes)
    channels = block_begin(per_group, blocks, block + 1, lanes) - begin
    k = share * at_once
    m = min(at_once, K - k)
    part = packed.reshape(-1)[(rest * K + k) * width : (rest * K + k + m) * width]
    start = weight0 + group * (weight.size // groups) + begin * row
    _pack(weight, start, row, outer, inner, inners, k, m, channels, part, width)
    check = weight.dtype.type(0)
    lines, length = (1, m * width) if channels == width else (m, channels)
    for i in range(lines):
        for j in range(np.uint64(length)):
            check += part[np.uint64(i * width) + j] * 0  # NaN from what is not finite
    return 0 if check == 0 else 1


@kernel
def _pack_weights(
    team, x, images, tables, weight, steps_of_weights, packing, bias, lowest, sharing, blocking, y
) -> bool:
    """Pack the weights of `forward_packed`, if they are packed once; whether it may go on.

    Parallel over (group, block of output channels, some terms), each of which owns its part of packed.
    """
    weight0, row, outer, inner, inners = steps_of_weights
    (packed, only_finite), odd, at_least = packing, 0, blocking[0]
    for task in prange(team, packed.shape[0] * packed.shape[1] * ceil_div(packed.shape[2], at_least)):
        odd += _pack_part(weight, weight0, row, outer, inner, inners, packed, task, at_least)
    return odd == 0 or not only_finite


@kernel_after(_pack_weights)
def forward_packed(
    team, x, images, tables, weight, steps_of_weights, packing, bias, lowest, sharing, blocking, y
) -> bool:
    """y[n, oc, p] = bias[oc] + sum over the terms k that reach p of weight[oc, k] * x[n, cell of p + offset of k].

    Results are clamped to `lowest`. The weights of a group follow those of the other; in it that of output channel j
    and term k is at weight0 + j*row + k // inners * outer + k % inners * inner, where `inner` is 1 or -1, or `row` is
    1. They are packed once, or by each task where `packed` is empty. Returns False, and computes nothing, where those
    packed once are not finite but `only_finite` asks for it.

    Precondition: x flat; images (cells of an image, of a group, groups, pixels of a row); tables are `Areas`, one area
    unless weights are packed once; weight flat; steps_of_weights (weight0, row, outer, inner, inners); packing (packed,
    only_finite), packed (groups, blocks, K, width), see `tile_blocks`, or (0, 0, 0, 0); bias (OC,); sharing (threads
    that share the work evenly, whether channels are last); blocking (packed_terms, ready_terms, packed_pixels,
    ready_pixels) of `Blocks`; y (N, OC, P), or (N, P, OC) with channels last. Parallel over (images or block of pixels,
    group, block of output channels), each of which owns its part of y.
    """
    (image, group_step, groups, columns), (threads, last), floor = images, sharing, lowest
    areas, terms, offsets, steps = tables
    weight0, row, outer, inner, inners = steps_of_weights
    at_least, at_ready, own_pixels, ready_pixels = blocking
    packed, ready = packing[0], packing[0].size > 0
    N, OC, P = (y.shape[0], y.shape[2], y.shape[1]) if last else y.shape
    flat, lanes, per_group = y.reshape(-1), VECTOR_BYTES // y.itemsize, OC // groups
    blocks, width = tile_blocks(per_group, lanes)
    pixels = ready_pixels if ready else own_pixels
    together = ceil_div(N, even_shares(groups * blocks, ceil_div(N, max(1, pixels // P)), N, threads))
    # twice as many fill more of the tiles at the corners, if threads still share them evenly; sums of terms that are
    # all summed at once are stored once, so not all of them need be in the cache
    most_pixels = 2 * ready_pixels if packed.shape[2] <= at_ready else ready_pixels
    if ready and together * P <= most_pixels and N % (2 * together) == 0:
        together *= 1 + (groups * blocks * (N // (2 * together)) % threads == 0)
    parts = ceil_div(N, together)
    slices = even_parts(parts * groups * blocks, ceil_div(P, pixels), P, threads) if together == 1 else 1
    at_once = at_ready if ready else at_least
    lowest = y.dtype.type(-np.inf)
    rows = terms * np.uint64(width) if ready else row_offsets(2 * at_least, width)
    length = -(-together * P // slices)
    slices = -(-together * P // length)
    # the pixels of a task's images, area by area: their cells, and the places of their sums, straight in y or to be
    # transposed; and where each area ends. What is transposed is listed slice by slice: it is a run of pixels of y
    step, line = (P * OC, OC) if last else (P * width, width)
    cells, places = np.empty(together * P, np.uint64), np.empty(together * P, np.uint64)
    lists, listed = (1, P) if last or slices == 1 else (slices, length)
    ends = np.zeros(lists * len(areas) + 1, np.int64)
    for own_areas in range(lists * len(areas)):
        s, area = divmod(own_areas, len(areas))
        count = ends[own_areas]
        for i in range(together):
            count += list_pixels(
                cells[count:], places[count:], areas[area], steps, s * listed, min((s + 1) * listed, P), columns,
                i * image, i * step, line,
            )  # fmt: skip
        ends[own_areas + 1] = count
    for task in prange(team, parts * groups * slices * blocks):
        rest, block = divmod(task, blocks)
        rest, s = divmod(rest, slices)
        part, group = divmod(rest, groups)
        begin = block_begin(per_group, blocks, block, lanes)
        channels = block_begin(per_group, blocks, block + 1, lanes) - begin
        first = group * per_group + begin
        some = min(together, N - part * together)
        start, end = s * length, min((s + 1) * length, together * P)
        sums = flat if last else aligned((end - start) * width, y.dtype)
        own = packed.reshape(-1) if ready else aligned(2 * at_least * width, y.dtype)
        weights = group * (weight.size // groups) + begin * row + weight0
        source, target = part * together * image + group * group_step, part * together * step + first if last else 0
        list0 = s * len(areas) if lists > 1 else 0
        for area in range(len(areas)):
            begin_p, end_p = ends[list0 + area], ends[list0 + area + 1]
            low, high = max(begin_p, start), min(begin_p + (end_p - begin_p) // together * some, end)
            if low >= high:
                continue
            begin_k, end_k = areas[area, 0], areas[area, 0] + areas[area, 1]
            most, chain = even_part(areas[area, 1], at_once), chain_of(areas[area, 1])
            for k in range(begin_k, max(end_k, begin_k + 1), most):
                m_k = min(most, end_k - k)
                at, k0 = np.int64((group * blocks + block) * packed.shape[2] * width), np.int64(k)
                if not ready:
                    at, k0 = np.int64(0), np.int64(0)
                    _pack(weight, weights, row, outer, inner, inners, k, m_k, channels, own, width)
                add_to_rows(
                    Panel(sums, places[low:high], np.int64(0)), target,
                    Matrix(x, cells[low:high], offsets[k : k + m_k]), source,
                    Panel(own, rows[k0 : k0 + m_k], np.int64(0)), at,
                    Epilogue(bias[first : first + channels], k == begin_k, floor if k + most >= end_k else lowest),
                    chain, channels,
                )  # fmt: skip
        if not last:
            m = min(P, end - start)
            for i in range(some):
                there_y = ((part * together + i) * OC + first) * P + start
                transpose(flat, there_y, sums, i * m * width, m, channels, P, width)
    return True
