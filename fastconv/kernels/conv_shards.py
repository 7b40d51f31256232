"""The gradient of a convolution's weights in shards of the batch, and their sum."""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import inlined, kernel, sized_kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import CHAIN, aligned, set_aside, steps_between
from fastconv.kernels.indirection import repeated, row_offsets
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.packing import split_plane, transpose_block


@inlined
def _split_images(x, place, layout, shifts, planes, steps, fresh):
    """Split the planes of a group of some images, which begin (N, groups) apart at `place`, one image after another."""
    (first, groups, images), (H, W, top, sy, sx, HP, WP), (image, plane) = place, layout, steps
    channels = image // plane
    for i in range(images):
        for c in range(channels):
            source = ((first + i * groups) * channels + c) * H * W
            split_plane(x, source, H, W, top, sy, shifts, sx, planes, i * image + c * plane, HP, WP, fresh)


@kernel
def weight_gradient_sharded(team, g, last, planes, layout, shifts, offsets, pixels, step_of_group, width, parts):
    """parts[s, group, k, oc] = sum over the pixels p of shard s of planes[n, offsets[k] + pixels[p]] * g[n, oc, p].

    A shard is a run of blocks of pixels, through the batch; each is transposed before it is used. Where there are
    `shifts`, planes are images (N, C*H*W), and each shard splits its own (see `packing.split`).

    Precondition: g (N, OC, P), or (N, P, OC) where channels are `last`; planes (N, cells of an image), groups
    `step_of_group` cells apart; layout (H, W, rows before the image, vertical, horizontal, HP, WP) and shifts of
    `Layout`; offsets (K,) and pixels (P,) uint64; parts (shards, groups, K, OC/groups). Parallel over (shard, group),
    each of which owns its part.
    """
    (_, _, _, sy, _, HP, WP), apart = layout, shifts.size > 0
    N, OC, P = (g.shape[0], g.shape[2], g.shape[1]) if last else g.shape
    shards, groups, K, per_group = parts.shape
    flat, flat_g, flat_parts = planes.reshape(-1), g.reshape(-1), parts.reshape(-1)
    image, plane = step_of_group if apart else planes.shape[1], sy * shifts.size * HP * WP
    together = max(1, min(N, CHAIN // P))  # small images share a block
    blocks = ceil_div(P, CHAIN)
    size = ceil_div(P, blocks)
    cells = repeated(pixels, image, together)
    steps = ceil_div(N, together) * blocks
    between = steps_between(steps // shards)
    nothing, lowest = np.zeros(K, g.dtype), g.dtype.type(-np.inf)
    zero, one = np.int64(0), np.int64(1)
    offsets_of_pixels = row_offsets(size * together, width)
    for task in prange(team, shards * groups):
        shard, group = divmod(task, groups)
        begin, end = shard * steps // shards, (shard + 1) * steps // shards
        parts[shard, group] = 0
        own = flat_parts[task * K * per_group : (task + 1) * K * per_group]
        aside = np.zeros(K * per_group if end - begin > between else 0, g.dtype)
        transposed = aligned(size * together * width, g.dtype)
        own_planes = np.empty(together * image, g.dtype) if apart else flat
        for step in range(begin, end):
            if step > begin and (step - begin) % between == 0:
                set_aside(aside, own)
                own[:] = 0
            part, block = divmod(step, blocks)
            n, p = part * together, block * size
            images, m = min(together, N - n), min(size, P - p)
            source = zero if apart else n * image + group * step_of_group
            if apart and (step == begin or block == 0):
                place = n * groups + group, groups, images
                _split_images(flat, place, layout, shifts, own_planes, (image, plane), step == begin)
            for oc in range(0, per_group, width):
                columns = min(width, per_group - oc)
                for i in range(images):
                    transpose_block(
                        transposed, i * m * width, flat_g, n + i, group * per_group + oc, p, m, columns, OC, P, last,
                        width,
                    )  # fmt: skip
                add_rows(
                    Region(own, per_group, zero), oc, Matrix(own_planes, offsets, cells[p : p + m * images]), source,
                    Panel(transposed, offsets_of_pixels[: m * images], zero), zero,
                    Epilogue(nothing, np.bool_(False), lowest), one, columns,
                )  # fmt: skip
        if aside.size > 0:
            set_aside(own, aside)


@sized_kernel
def add_parts(team, parts, total):
    """Sum parts (S, n) over the first axis into total (n,), in order. Parallel over n."""
    S, n = parts.shape
    blocks = ceil_div(n, 1024)
    for block in prange(team, blocks):
        first, last = np.uint64(block * 1024), np.uint64(min((block + 1) * 1024, n))
        for i in range(first, last):
            total[i] = parts[0, i]
        for s in range(1, S):
            for i in range(first, last):
                total[i] += parts[s, i]
