"""The gradients of direct convolution: of the weights as products over pixels, of the bias."""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import kernel, sized_kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import CHAIN, block_sum, set_aside, steps_between
from fastconv.kernels.indirection import repeated, row_offsets
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.dot import add_dot_block, store_dot_block
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import DOT_ROWS, LANES, TILE_ROWS
from fastconv.kernels.packing import split_plane


@kernel
def weight_gradient_blocked(team, transposed, planes, step, offsets, pixels, width, blocking, grad):
    """grad[group, oc, k] = sum over images n and pixels p of x[n, offsets[k] + pixels[p]] * g[n, oc, p].

    Precondition: transposed (N, groups, cells), g as `transpose_gradient` leaves it, `width` channels a block; x the
    planes (N, cells of an image), the groups `step` cells apart; offsets (K,) and pixels (P,) uint64; grad (groups,
    OC/groups, K). Parallel over (group, block of terms, block of channels), each of which owns its part of grad and
    sums the batch in order.
    """
    N, groups, cells = transposed.shape
    per_group, K = grad.shape[1:]
    x, image = planes.reshape(-1), planes.shape[1]
    blocks, P = ceil_div(per_group, width), pixels.size
    most_terms, least_tasks = blocking
    share = ceil_div(K * groups * blocks, least_tasks)
    shares = ceil_div(K, min(most_terms, ceil_div(share, TILE_ROWS) * TILE_ROWS))
    taps = ceil_div(K, shares * TILE_ROWS) * TILE_ROWS
    shares = ceil_div(K, taps)
    flat_transposed, flat_grad = transposed.reshape(-1), grad.reshape(-1)
    nothing, lowest = np.zeros(K, grad.dtype), grad.dtype.type(-np.inf)
    together = max(1, min(N, CHAIN // P))  # small images share a block
    inputs, places = repeated(pixels, image, together), repeated(row_offsets(P, width), groups * cells, together)
    between = steps_between(ceil_div(N, together))
    zero, one = np.int64(0), np.int64(1)
    for task in prange(team, groups * shares * blocks):
        rest, block = divmod(task, blocks)
        group, s = divmod(rest, shares)
        k, oc = s * taps, block * width
        rows, channels = min(taps, K - k), min(width, per_group - oc)
        sums = np.zeros(taps * width, grad.dtype)
        aside = np.zeros(taps * width if N > between * together else 0, grad.dtype)
        for n in range(0, N, together):
            if n > 0 and n // together % between == 0:
                set_aside(aside, sums)
                sums[:] = 0
            terms = min(together, N - n) * P
            add_rows(
                Region(sums, width, zero), zero,
                Matrix(x, offsets[k : k + rows], inputs[:terms]), n * image + group * step,
                Panel(flat_transposed, places[:terms], zero), (n * groups + group) * cells + block * P * width,
                Epilogue(nothing, np.bool_(False), lowest), one, channels,
            )  # fmt: skip
        if aside.size > 0:
            set_aside(sums, aside)
        transpose(flat_grad, (group * per_group + oc) * K + k, sums, zero, rows, channels, K, width)


@kernel
def weight_gradient(team, g, planes, offsets, groups, runs_of_pixels, blocking, grad):
    """grad[oc, k] = sum over images n and pixels of g[n, oc] * planes[n, offsets[k]].

    The pixels of a plane lie in `runs` runs of `run` cells each, `g_run` apart in g and `planes_run` apart in planes,
    which is what `runs_of_pixels` holds.

    Precondition: g (N, OC, cells); planes (N, cells of an image); offsets (K,) uint64; grad (OC, K). Parallel over
    (group, block of output channels, block of taps), each of which owns its part of grad and sums the batch in order.
    """
    runs, run, g_run, planes_run = runs_of_pixels
    tap_block, dot_cells = blocking
    N, OC, P = g.shape
    image, K = planes.shape[1], offsets.size
    per_group = OC // groups
    tiles, blocks = ceil_div(per_group, DOT_ROWS), ceil_div(K, tap_block)
    flat, flat_g = planes.reshape(-1), g.reshape(-1)
    # runs that one tile sums: of one image, or those of several small images
    images = max(1, dot_cells // run) if runs == 1 else 1
    g_step, planes_step = (OC * P, image) if runs == 1 else (g_run, planes_run)
    together = images if runs == 1 else max(1, dot_cells // run)
    steps = ceil_div(N, images) * (1 if runs == 1 else ceil_div(runs, together)) * ceil_div(run, dot_cells)
    between = steps_between(steps)
    for task in prange(team, groups * tiles * blocks):
        rest, block = divmod(task, blocks)
        group, tile = divmod(rest, tiles)
        oc = group * per_group + tile * DOT_ROWS
        rows = min(DOT_ROWS, per_group - tile * DOT_ROWS)
        first, last = block * tap_block, min((block + 1) * tap_block, K)
        pixels, taps = Region(flat_g, P, g_step), Panel(flat, offsets, planes_step)
        sums = np.zeros((tap_block // 4, DOT_ROWS, 4, LANES), grad.dtype)
        aside = np.zeros(sums.size if steps > between else 0, grad.dtype)
        count = 0
        for n in range(0, N, images):
            all_runs = min(images, N - n) if runs == 1 else runs
            for r in range(0, all_runs, together):
                for q in range(0, run, dot_cells):
                    if count == between:
                        set_aside(aside, sums.reshape(-1))
                        sums[:] = 0
                        count = 0
                    count += 1
                    add_dot_block(
                        sums, rows, pixels, (n * OC + oc) * P + r * g_step + q, taps,
                        n * image + group * (image // groups) + r * planes_step + q, first, last,
                        min(together, all_runs - r), min(dot_cells, run - q),
                    )  # fmt: skip
        if aside.size > 0:
            set_aside(sums.reshape(-1), aside)
        store_dot_block(sums, rows, first, last, grad, oc)


@kernel
def split_and_weight_gradient(team, g, x, top, layout, shifts, offsets, groups, tap_block, grad):
    """`split` and `weight_gradient`, one group of an image after another, so that its planes stay in the cache.

    Precondition: as for those two, x (N, C, H, W), g (N, OC, OH, OW); OC/groups at most DOT_ROWS, K at most
    `tap_block`; layout (vertical, horizontal, HP, WP) of `Layout`. Parallel over groups, each of which owns its part of
    grad and sums the batch in order.
    """
    sy, sx, HP, WP = layout
    N, C, H, W = x.shape
    OC, OH, OW = g.shape[1:]
    flat_x, flat_g, P = x.reshape(-1), g.reshape(-1), OH * OW
    channels, per_group, plane = C // groups, OC // groups, sy * shifts.size * HP * WP
    runs, run = (1, P) if WP == OW else (OH, OW)
    zero, between = np.int64(0), steps_between(N)
    for task in prange(team, groups):
        group = task
        planes = np.empty(channels * plane, x.dtype)
        sums = np.zeros((tap_block // 4, DOT_ROWS, 4, LANES), grad.dtype)
        aside = np.zeros(sums.size if N > between else 0, grad.dtype)
        for n in range(N):
            if n > 0 and n % between == 0:
                set_aside(aside, sums.reshape(-1))
                sums[:] = 0
            for c in range(channels):
                source = (n * C + group * channels + c) * H * W
                split_plane(flat_x, source, H, W, top, sy, shifts, sx, planes, c * plane, HP, WP, n == 0)
            add_dot_block(
                sums, per_group, Region(flat_g, P, OW), (n * OC + group * per_group) * P, Panel(planes, offsets, WP),
                zero, zero, offsets.size, runs, run,
            )  # fmt: skip
        if aside.size > 0:
            set_aside(sums.reshape(-1), aside)
        store_dot_block(sums, per_group, zero, offsets.size, grad, group * per_group)


@kernel
def bias_gradient(team, g, grad):
    """grad[oc] = sum of g[n, oc, p] over images n and pixels p.

    Precondition: g (N, OC, P), grad (OC,). Parallel over OC, each of which owns its sum.
    """
    N, OC, P = g.shape
    flat = g.reshape(-1)
    for oc in prange(team, OC):
        total = 0.0
        for n in range(N):
            total += block_sum(flat, (n * OC + oc) * P, P)
        grad[oc] = total


@sized_kernel
def bias_gradient_last(team, g, parts):
    """parts[s, oc] = sum of g[p, oc] over the pixels p of shard s.

    Precondition: g (P, OC); parts (shards, OC) float64. Parallel over shards, each of which owns its part.
    """
    P, OC = g.shape
    shards, flat = len(parts), g.reshape(-1)
    for shard in prange(team, shards):
        begin, end = shard * P // shards, (shard + 1) * P // shards
        sums = np.empty(OC, g.dtype)
        parts[shard] = 0
        for first in range(begin, end, CHAIN):
            sums[:] = 0
            for p in range(first, min(first + CHAIN, end)):
                line = np.uint64(p * OC)
                for oc in range(np.uint64(OC)):
                    sums[oc] += flat[line + oc]
            for oc in range(np.uint64(OC)):
                parts[shard, oc] += sums[oc]
