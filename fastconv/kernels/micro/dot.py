"""Dot products of rows with four others at a time, whose partial sums stay in the lanes of a vector until the end."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.jit import helper, inlined
from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.records import unpacked
from fastconv.kernels.micro.vectors import (
    DOT_ROWS,
    ENABLED,
    I64,
    LANES,
    MANY_REGISTERS,
    VECTOR_BYTES,
    Vectors,
    data_of,
    strided,
)


@intrinsic(prefer_literal=True)
def dots_tile(typingctx, rows, t, a, b, b_rows, first, r, q, runs, n):
    """The micro-kernel: t[i, j, lane] += sum over s < runs and p < n of a(i, r + s, q + p) * b(j, r + s, q + p).

    For first <= i < first + rows and the four rows of b at the offsets b_rows, in place of the panel's own; of the p of
    that lane, summed before they are added to t. The lanes stay apart, so that a sum over many images is reduced once.

    Precondition: `rows` a literal; t (at least first + rows, 4, LANES), C-contiguous, a a Region and b a Panel, all of
    one float type; b_rows four uint64; the numbers of 64 bits.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    M, N = rows.literal_value, len(b_rows)
    signature = types.void(rows, t, a, b, b_rows, *[types.uint64] * 5)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        a, b = (unpacked(context, builder, kinds[i], args[i]) for i in (2, 3))
        t = data_of(context, builder, kinds[1], args[1])
        first, r, q, runs, n = args[5:]
        vectors = Vectors(builder, kinds[1].dtype)
        a0 = builder.add(builder.add(a.start, builder.mul(first, a.row)), builder.add(builder.mul(r, a.run), q))
        b0 = builder.add(b.start, builder.add(builder.mul(r, b.run), q))
        lefts_at = strided(builder, a.data, a0, a.row, M)
        rights_at = [builder.gep(b.data, [builder.add(b0, row)]) for row in cgutils.unpack_tuple(builder, args[4], N)]
        place = builder.mul(first, ir.Constant(I64, N * LANES))
        cells = [[builder.add(place, ir.Constant(I64, (i * N + j) * LANES)) for j in range(N)] for i in range(M)]
        sums = [[cgutils.alloca_once(builder, vectors.type) for _ in row] for row in cells]
        for slot in (slot for slots in sums for slot in slots):
            builder.store(vectors.zero, slot)

        def block(p, q, mask):
            lefts = [vectors.load(row, p, mask) for row in lefts_at]
            for j, row in enumerate(rights_at):
                right = vectors.load(row, q, mask)
                for i, left in enumerate(lefts):
                    vectors.multiply_add(left, right, sums[i][j])

        lanes = ir.Constant(I64, vectors.lanes)
        whole = builder.mul(builder.udiv(n, lanes), lanes)
        rest = builder.sub(n, whole)
        mask, some = vectors.before(rest), builder.icmp_unsigned("!=", rest, ir.Constant(I64, 0))
        with cgutils.for_range(builder, runs) as run:
            p, q = builder.mul(run.index, a.run), builder.mul(run.index, b.run)
            with cgutils.for_range(builder, builder.udiv(n, lanes)) as loop:
                vectors.keep_loop()
                step = builder.mul(loop.index, lanes)
                block(builder.add(p, step), builder.add(q, step), None)
            with builder.if_then(some):
                block(builder.add(p, whole), builder.add(q, whole), mask)
        for row, slots in zip(cells, sums):
            for cell, slot in zip(row, slots):
                vectors.store(builder.fadd(vectors.load(t, cell), builder.load(slot)), t, cell)
        return context.get_dummy_value()

    return signature, codegen


@inlined
def _four(offsets, j):
    """Four offsets from the j-th on; past the last one, that one again."""
    last = offsets.size - 1
    return offsets[j], offsets[min(j + 1, last)], offsets[min(j + 2, last)], offsets[min(j + 3, last)]


@helper
def add_dots(t, rows, a, b, j, runs, n):
    """t[i, m, :] += sum over r < runs and q < n of a(i, r, q) * b(j + m, r, q), for i < rows and m < 4.

    The lanes of t are partial sums that the caller adds up once, at the end. Past the last row of b it is that row.

    Precondition: a a Region and b a Panel; t (at least rows, 4, LANES), one float type; rows at most DOT_ROWS; the
    numbers int64.
    """
    starts = _four(b.rows, j)
    if ENABLED:
        # so many cells and runs at once that a lane sums up to CHAIN products
        lanes = VECTOR_BYTES // t.itemsize
        cells, together = max(n, 1), max(runs, 1)
        if runs * -(-n // lanes) > CHAIN:  # a division takes as long as many products
            cells = min(n, CHAIN * lanes)
            together = max(1, CHAIN // -(-cells // lanes))
        for r in range(0, runs, together):
            for q in range(0, n, cells):
                some, m = min(together, runs - r), min(cells, n - q)
                i = np.int64(0)
                if MANY_REGISTERS and rows >= DOT_ROWS:
                    dots_tile(DOT_ROWS, t, a, b, starts, i, r, q, some, m)
                    i = DOT_ROWS
                elif MANY_REGISTERS and rows >= 4:
                    dots_tile(4, t, a, b, starts, i, r, q, some, m)
                    i = 4
                if rows - i >= 2:
                    dots_tile(2, t, a, b, starts, i, r, q, some, m)
                    i += 2
                if rows - i >= 1:
                    dots_tile(1, t, a, b, starts, i, r, q, some, m)
        return
    A, B = a.data, b.data
    for i in range(rows):
        for m in range(4):
            total = t[i, m, 0]
            for r in range(runs):
                left = np.uint64(a.start + i * a.row + r * a.run)
                right = np.uint64(b.start + r * b.run) + starts[m]
                for q in range(np.uint64(n)):
                    total += A[left + q] * B[right + q]
            t[i, m, 0] = total


@helper
def lane_sum(t, i, j):
    """The sum of the lanes of t[i, j], in order."""
    total = t.dtype.type(0)
    for lane in range(t.shape[2]):
        total += t[i, j, lane]
    return total
