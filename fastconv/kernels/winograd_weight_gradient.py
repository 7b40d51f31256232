"""The gradient of 3x3 weights by Winograd's F(3x3, 2x2), the adjoint of `winograd`: 16 products where direct takes 36.

Of images with channels last. With the transforms of `micro.winograd` it is G^T (sum over the tiles of (A g A^T) *
(B^T d B)) G, where g are a tile's 2x2 gradients and d its 4x4 pixels. A task takes one row of four places of a shard of
the tiles, so that a block's transformed tiles and its sums stay in the L2 cache.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import helper, kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import VECTOR_BYTES
from fastconv.kernels.winograd import PAD, PLACES, TAPS

ROWS = 4  # of places, and places of a row
# row a of B^T is that of pixels UPPER[a], and SIGN[a] times that of pixels LOWER[a]
UPPER, LOWER, SIGN = (0, 1, 2, 1), (2, 2, 1, 3), (-1, 1, -1, -1)


@helper
def _cell(H, W, iy, ix):
    """Where a pixel lies on its plane, and 1 if it does, otherwise 0 and another pixel's place."""
    inside = 0 <= iy < H and 0 <= ix < W
    return (iy * W + ix if inside else 0), (1 if inside else 0)


@helper
def _input_row(v, v0, step, x, x0, C, n, H, W, iy, ix, a):
    """v[v0 + b*step + c] = (B^T d B)[a, b] of channel c < n; d[i, j] = x[x0 + ((iy + i)*W + ix + j)*C + c] or 0."""
    upper, lower, sign = UPPER[a], LOWER[a], SIGN[a]
    p0, s0 = _cell(H, W, iy + upper, ix)
    p1, s1 = _cell(H, W, iy + upper, ix + 1)
    p2, s2 = _cell(H, W, iy + upper, ix + 2)
    p3, s3 = _cell(H, W, iy + upper, ix + 3)
    q0, t0 = _cell(H, W, iy + lower, ix)
    q1, t1 = _cell(H, W, iy + lower, ix + 1)
    q2, t2 = _cell(H, W, iy + lower, ix + 2)
    q3, t3 = _cell(H, W, iy + lower, ix + 3)
    f0, f1, f2, f3 = x.dtype.type(s0), x.dtype.type(s1), x.dtype.type(s2), x.dtype.type(s3)
    g0, g1, g2, g3 = x.dtype.type(t0 * sign), x.dtype.type(t1 * sign), x.dtype.type(t2 * sign), x.dtype.type(t3 * sign)
    u0, u1, u2, u3 = np.uint64(x0 + p0 * C), np.uint64(x0 + p1 * C), np.uint64(x0 + p2 * C), np.uint64(x0 + p3 * C)
    w0, w1, w2, w3 = np.uint64(x0 + q0 * C), np.uint64(x0 + q1 * C), np.uint64(x0 + q2 * C), np.uint64(x0 + q3 * C)
    y0, d = np.uint64(v0), np.uint64(step)
    for c in range(np.uint64(n)):
        d0 = x[u0 + c] * f0 + x[w0 + c] * g0
        d1 = x[u1 + c] * f1 + x[w1 + c] * g1
        d2 = x[u2 + c] * f2 + x[w2 + c] * g2
        d3 = x[u3 + c] * f3 + x[w3 + c] * g3
        v[y0 + c] = d0 - d2
        v[y0 + d + c] = d1 + d2
        v[y0 + d + d + c] = d2 - d1
        v[y0 + d + d + d + c] = d1 - d3


@helper
def _gradient_row(z, z0, step, g, g0, C, n, H, W, oy, ox, a):
    """z[z0 + b*step + c] = (A g A^T)[a, b] of channel c < n; g[i, j] = g[g0 + ((oy + i)*W + ox + j)*C + c] or 0."""
    p0, s0 = _cell(H, W, oy, ox)
    p1, s1 = _cell(H, W, oy, ox + 1)
    q0, t0 = _cell(H, W, oy + 1, ox)
    q1, t1 = _cell(H, W, oy + 1, ox + 1)
    first, second = (1 if a < 3 else 0), (0 if a == 0 else (1 if a == 1 else -1))
    f0, f1 = g.dtype.type(s0 * first), g.dtype.type(s1 * first)
    h0, h1 = g.dtype.type(t0 * second), g.dtype.type(t1 * second)
    u0, u1, w0, w1 = np.uint64(g0 + p0 * C), np.uint64(g0 + p1 * C), np.uint64(g0 + q0 * C), np.uint64(g0 + q1 * C)
    y0, d = np.uint64(z0), np.uint64(step)
    for c in range(np.uint64(n)):
        e0 = g[u0 + c] * f0 + g[w0 + c] * h0
        e1 = g[u1 + c] * f1 + g[w1 + c] * h1
        z[y0 + c] = e0
        z[y0 + d + c] = e0 + e1
        z[y0 + d + d + c] = e0 - e1
        z[y0 + d + d + d + c] = -e1


@kernel
def winograd_products(team, g, x, pads, most, workspace, parts):
    """parts[s, group, 4*a + b, oc, c] = the sum over the tiles of shard s of (A g A^T)[a, b, oc] * (B^T d B)[a, b, c].

    Precondition: g (N, OH, OW, OC), x (N, H, W, C); pads (top, left); `most` tiles are transformed at once; workspace
    (workers, cells); parts (shards, groups, 16, OC/groups, C/groups). Parallel over (shard, group, a), each of which
    owns its part.
    """
    N, H, W, C = x.shape
    OH, OW, OC = g.shape[1:]
    shards, groups, _, per_group, channels = parts.shape
    (top, left), lanes = pads, VECTOR_BYTES // x.itemsize
    TH, TW = ceil_div(OH, 2), ceil_div(OW, 2)
    tiles = N * TH * TW
    flat_x, flat_g, flat, zero, one = x.reshape(-1), g.reshape(-1), parts.reshape(-1), np.int64(0), np.int64(1)
    v_step, z_step = most * channels + PAD * lanes, most * per_group + PAD * lanes
    if team[0] >= len(workspace):
        return  # another thread of the program has asked for more threads meanwhile
    own, team = workspace[team[0]], (team[0], min(team[1], len(workspace)))
    v, z = own[: ROWS * v_step], own[ROWS * v_step : ROWS * (v_step + z_step)]
    v_rows, z_rows, z_columns = row_offsets(most, channels), row_offsets(per_group, one), row_offsets(most, per_group)
    none, lowest = np.zeros(per_group, x.dtype), x.dtype.type(-np.inf)
    for task in prange(team, shards * groups * ROWS):
        rest, a = divmod(task, ROWS)
        shard, group = divmod(rest, groups)
        begin, end = shard * tiles // shards, (shard + 1) * tiles // shards
        target = ((shard * groups + group) * PLACES + a * ROWS) * per_group * channels
        if begin == end:
            flat[target : target + ROWS * per_group * channels] = 0
        for t in range(begin, end, most):
            count = min(most, end - t)
            for i in range(count):
                row, tx = divmod(t + i, TW)
                n, ty = divmod(row, TH)
                _input_row(
                    v, i * channels, v_step, flat_x, n * H * W * C + group * channels, C, channels, H, W, 2 * ty - top,
                    2 * tx - left, a,
                )  # fmt: skip
                _gradient_row(
                    z, i * per_group, z_step, flat_g, n * OH * OW * OC + group * per_group, OC, per_group, OH, OW,
                    2 * ty, 2 * tx, a,
                )  # fmt: skip
            for b in range(ROWS):
                add_rows(
                    Region(flat, channels, zero), target + b * per_group * channels,
                    Matrix(z, z_rows, z_columns[:count]), b * z_step, Panel(v, v_rows[:count], zero), b * v_step,
                    Epilogue(none, t == begin, lowest), one, channels,
                )  # fmt: skip


@kernel
def winograd_weights(team, parts, grad) -> bool:
    """grad[oc, tap, c] = (G^T P G)[tap] of the sum P of all shards' parts; whether all of it is finite.

    Precondition: parts of `winograd_products`, grad (OC, 9, C/groups). Parallel over OC, which owns its part.
    """
    shards, groups, _, per_group, channels = parts.shape
    flat, out = parts.reshape(-1), grad.reshape(-1)
    place, shard_size = np.uint64(per_group * channels), np.uint64(groups * PLACES * per_group * channels)
    half, odd, C = parts.dtype.type(0.5), 0, np.uint64(channels)
    sums, rows = np.empty(PLACES * channels, parts.dtype), np.empty(3 * ROWS * channels, parts.dtype)
    for oc in prange(team, groups * per_group):
        group, j = divmod(oc, per_group)
        start = np.uint64((group * PLACES * per_group + j) * channels)
        for p in range(PLACES):
            source, target = start + np.uint64(p) * place, np.uint64(p) * C
            for c in range(C):
                sums[target + c] = flat[source + c]
            for s in range(1, shards):
                at = source + np.uint64(s) * shard_size
                for c in range(C):
                    sums[target + c] += flat[at + c]
        for b in range(ROWS):  # down the columns, then along the rows
            p0, p1 = np.uint64(b) * C, np.uint64(ROWS + b) * C
            p2, p3 = np.uint64(2 * ROWS + b) * C, np.uint64(3 * ROWS + b) * C
            r0, r1, r2 = np.uint64(b) * C, np.uint64(ROWS + b) * C, np.uint64(2 * ROWS + b) * C
            for c in range(C):
                inner, outer = (sums[p1 + c] + sums[p2 + c]) * half, (sums[p1 + c] - sums[p2 + c]) * half
                rows[r0 + c], rows[r1 + c], rows[r2 + c] = sums[p0 + c] + inner, outer, inner + sums[p3 + c]
        check = parts.dtype.type(0)
        for i in range(3):
            r0 = np.uint64(i * ROWS) * C
            r1, r2, r3 = r0 + C, r0 + C + C, r0 + C + C + C
            t0 = np.uint64((oc * TAPS + 3 * i) * channels)
            t1, t2 = t0 + C, t0 + C + C
            for c in range(C):
                inner, outer = (rows[r1 + c] + rows[r2 + c]) * half, (rows[r1 + c] - rows[r2 + c]) * half
                first, last = rows[r0 + c] + inner, inner + rows[r3 + c]
                out[t0 + c], out[t1 + c], out[t2 + c] = first, outer, last
                check += (first - first) + (outer - outer) + (last - last)  # NaN from what is not finite
        odd += 0 if check == 0 else 1
    return odd == 0
