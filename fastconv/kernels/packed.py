"""Direct convolution with vectors along the output channels, whose weights are packed for it.

The image need not be padded: each tap is multiplied at the pixels where it lies in the image (see `Reach`).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from fastconv._jit import inlined, kernel
from fastconv.kernels.pixels import list_pixels
from fastconv.kernels.shares import aligned, block_begin, even_part, even_parts, tile_blocks
from fastconv.kernels.simd import add_to_rows, copy_rows, limit_rows, row_offsets, transpose
from fastconv.kernels.tiles import VECTOR_BYTES

TERMS = 128  # terms that are summed at once: their weights, a tile wide, and its inputs stay in the L1 cache
TERMS_LAST = 1280  # with channels last, where a cache line holds the next terms of its pixel: in the L2 cache
PIXELS = 1600  # pixels that one task computes, about, if it packs its weights: that takes a few per cent of its time
PIXELS_READY = 800  # and if they are packed: its sums, inputs and weights fit the L2 cache


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


@kernel
def pack(weight, weight0, row, outer, inner, inners, groups, packed):
    """Pack all weights for `forward_packed`, described as there: packed[group, block, k, j]; whether all are finite.

    Precondition: weight flat; packed (groups, blocks, K, width), of which those past a block's last channel stay as
    they are. Parallel over (group, block, TERMS terms), each of which owns its part.
    """
    blocks, K, width = packed.shape[1:]
    per_group, lanes, shares = weight.size // (groups * K), VECTOR_BYTES // weight.itemsize, -(-K // TERMS)
    flat, odd = packed.reshape(-1), 0
    for task in prange(groups * blocks * shares):
        rest, share = divmod(np.int64(task), shares)
        group, block = divmod(rest, blocks)
        begin = block_begin(per_group, blocks, block, lanes)
        channels = block_begin(per_group, blocks, block + 1, lanes) - begin
        start = weight0 + group * (weight.size // groups) + begin * row
        k = share * TERMS
        m = min(TERMS, K - k)
        part = flat[(rest * K + k) * width : (rest * K + k + m) * width]
        _pack(weight, start, row, outer, inner, inners, k, m, channels, part, width)
        check = weight.dtype.type(0)
        for i in range(m):
            for j in range(np.uint64(channels)):
                check += part[np.uint64(i * width) + j] * 0  # NaN from what is not finite
        odd += 0 if check == 0 else 1
    return odd == 0


@kernel
def forward_packed(
    x, image, group_step, areas, terms, offsets, steps, weight, weight0, row, outer, inner, inners, ready, bias, floor,
    groups, columns, threads, last, y,
):  # fmt: skip
    """y[n, oc, p] = bias[oc] + sum over the terms k that reach p of weight[oc, k] * x[n, cell of p + offsets[k]].

    Results up to `floor` are stored as `floor`. See `Reach` for `runs`, the joined ones, and `steps`; the terms of a run are at
    offsets[0], offsets[1] and so on from the cells of their pixels. The weights of a group follow those of the other;
    in it that of output channel j and term k is at weight0 + j*row + k // inners * outer + k % inners *
    inner, where `inner` is 1 or -1, or `row` is 1; or they are `ready`, as `pack` leaves them.

    Precondition: x flat, `image` cells an image, the groups `group_step` cells apart; offsets (K,) uint64; runs and
    steps int64, the first run reaching all pixels; weight flat; bias (OC,); `columns` the pixels of a row; y (N, OC,
    P), or (N, P, OC) where channels are `last`. Parallel over (images or block of pixels, group, block of output
    channels), each of which owns its part of y; evenly for so many `threads`.
    """
    N, OC, P = (y.shape[0], y.shape[2], y.shape[1]) if last else y.shape
    flat, lanes, per_group = y.reshape(-1), VECTOR_BYTES // y.itemsize, OC // groups
    blocks, width = tile_blocks(per_group, lanes)
    pixels = PIXELS_READY if ready else PIXELS
    together = -(-N // even_parts(groups * blocks, -(-N // max(1, pixels // P)), N, threads))
    parts = -(-N // together)
    slices = even_parts(parts * groups * blocks, -(-P // pixels), P, threads) if together == 1 else 1
    length = -(-P // slices)
    slices = -(-P // length)
    at_once = TERMS_LAST if ready and last else TERMS
    K, lowest = weight.size // (groups * blocks * width), y.dtype.type(-np.inf)  # of `ready` weights
    rows = terms * np.uint64(width) if ready else row_offsets(2 * TERMS, width)
    for task in prange(parts * groups * slices * blocks):
        rest, block = divmod(np.int64(task), blocks)
        rest, s = divmod(rest, slices)
        part, group = divmod(rest, groups)
        begin = block_begin(per_group, blocks, block, lanes)
        channels = block_begin(per_group, blocks, block + 1, lanes) - begin
        first = group * per_group + begin
        start, end = s * length, min((s + 1) * length, P)
        m = end - start
        images = min(together, N - part * together)
        # the sums of an image's pixels, straight in y or to be transposed
        base, step, line = ((part * together * P + start) * OC + first, P * OC, OC) if last else (0, m * width, width)
        sums = flat if last else aligned(images * m * width, y.dtype)
        cells, places = np.empty(images * m, np.uint64), np.empty(images * m, np.uint64)
        packed = weight if ready else aligned(2 * TERMS * width, y.dtype)
        weights = group * (weight.size // groups) + begin * row + weight0
        for area in range(len(areas)):
            count = 0
            for i in range(images):
                source = (part * together + i) * image + group * group_step
                count += list_pixels(
                    cells[count:], places[count:], areas[area], steps, start, end, columns, source, base + i * step, line
                )
            if count == 0:
                continue
            begin_k, end_k = areas[area, 0], areas[area, 0] + areas[area, 1]
            most = even_part(areas[area, 1], at_once)
            for k in range(begin_k, max(end_k, begin_k + 1), most):
                m_k = min(most, end_k - k)
                at, k0 = (group * blocks + block) * K * width, k
                if not ready:
                    at, k0 = np.int64(0), np.int64(0)
                    _pack(weight, weights, row, outer, inner, inners, k, m_k, channels, packed, width)
                add_to_rows(
                    sums, places[:count], bias, first, k == begin_k, x, cells[:count], offsets[k : k + m_k], packed,
                    at, rows[k0 : k0 + m_k], channels,
                )  # fmt: skip
        for i in range(images):
            if floor > lowest:
                limit_rows(m, sums, base + i * step, line, floor, channels)
            if not last:
                target = ((part * together + i) * OC + first) * P + start
                transpose(flat, target, sums, i * m * width, m, channels, P, width)
