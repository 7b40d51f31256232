"""Dot products of rows with four others at a time, whose partial sums stay in the lanes of a vector until the end."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import helper, inlined, linked_helper
from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.records import length_of, unpacked
from fastconv.kernels.micro.vectors import DOT_ROWS, I64, LANES, MANY_REGISTERS, VECTOR_BYTES, Vectors, data_of, strided


@intrinsic(prefer_literal=True)
def dots_tile(typingctx, rows, t, a, a0, b, b0, j, first, runs, n):
    """The micro-kernel: t[i, m, lane] += sum over r < runs and q < n of a(i, r, q) * b(j + m, r, q), from a0 and b0 on.

    For first <= i < first + rows and m < 4, past the last row of b that row again; of the q of that lane, summed before
    they are added to t. The lanes stay apart, so that a sum over many images is reduced once.

    Precondition: `rows` a literal; t (at least first + rows, 4, LANES), C-contiguous, a a Region and b a Panel, all of
    one float type; the numbers of 64 bits.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    M, N = rows.literal_value, 4
    number = types.uint64
    signature = types.void(rows, t, a, number, b, number, number, number, number, number)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        a, b = (unpacked(context, builder, kinds[i], args[i]) for i in (2, 4))
        t = data_of(context, builder, kinds[1], args[1])
        a0, b0, j, first, runs, n = (args[i] for i in (3, 5, 6, 7, 8, 9))
        vectors = Vectors(builder, kinds[1].dtype)
        # loaded here: Numba would count references to the array of offsets
        last = builder.sub(length_of(context, builder, kinds[4], args[4], "rows"), ir.Constant(I64, 1))
        indices = [builder.add(j, ir.Constant(I64, m)) for m in range(N)]
        within = [builder.select(builder.icmp_signed("<", index, last), index, last) for index in indices]
        b_rows = [builder.load(builder.gep(b.rows, [index])) for index in within]
        lefts_at = strided(builder, a.data, builder.add(a0, builder.mul(first, a.row)), a.row, M)
        rights_at = [builder.gep(b.data, [builder.add(b0, row)]) for row in b_rows]
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


@linked_helper
def add_dots(t, rows, a, a0, b, b0, j, runs, n):
    """t[i, m, :] += sum over r < runs and q < n of a(i, r, q) * b(j + m, r, q), for i < rows and m < 4.

    From a0 and b0 on. The lanes of t are partial sums that the caller adds up once, at the end. Past the last row of b
    it is that row.

    Precondition: a a Region and b a Panel; t (at least rows, 4, LANES), one float type; rows at most DOT_ROWS; the
    numbers int64.
    """
    if ENABLED:
        # cells and runs at once of which a lane sums up to CHAIN products
        lanes = VECTOR_BYTES // t.itemsize
        cells, together = max(n, 1), max(runs, 1)
        if runs * ceil_div(n, lanes) > CHAIN:  # a division takes as long as many products
            cells = min(n, CHAIN * lanes)
            together = max(1, CHAIN // ceil_div(cells, lanes))
        for r in range(0, runs, together):
            for q in range(0, n, cells):
                some, m = min(together, runs - r), min(cells, n - q)
                left, right = a0 + r * a.run + q, b0 + r * b.run + q
                i = 0
                if MANY_REGISTERS and rows >= DOT_ROWS:
                    dots_tile(DOT_ROWS, t, a, left, b, right, j, i, some, m)
                    i = DOT_ROWS
                elif MANY_REGISTERS and rows >= 4:
                    dots_tile(4, t, a, left, b, right, j, i, some, m)
                    i = 4
                if rows - i >= 2:
                    dots_tile(2, t, a, left, b, right, j, i, some, m)
                    i += 2
                if rows - i >= 1:
                    dots_tile(1, t, a, left, b, right, j, i, some, m)
        return
    A, B, offsets = a.data, b.data, b.rows
    for i in range(rows):
        for m in range(4):
            total, start = t[i, m, 0], offsets[min(j + m, offsets.size - 1)]
            for r in range(runs):
                first, second = np.uint64(a0 + i * a.row + r * a.run), np.uint64(b0 + r * b.run) + start
                for q in range(np.uint64(n)):
                    total += A[first + q] * B[second + q]
            t[i, m, 0] = total


@helper
def lane_sum(t, i, j):
    """The sum of the lanes of t[i, j], in order."""
    total = t.dtype.type(0)
    for lane in range(t.shape[2]):
        total += t[i, j, lane]
    return total


@inlined
def add_dot_block(sums, rows, a, a0, b, b0, first, last, runs, n):
    """As `add_dots`, for the rows first <= k < last of b: each of sums (_, rows, 4, LANES) takes four of them."""
    for k in range(first, last, 4):
        add_dots(sums[(k - first) // 4], rows, a, a0, b, b0, k, runs, n)


@inlined
def store_dot_block(sums, rows, first, last, c, c0):
    """c[c0 + i, k] = the sum of the lanes of i < rows and first <= k < last, after `add_dot_block`."""
    for k in range(first, last):
        quad, m = divmod(k - first, 4)
        for i in range(rows):
            c[c0 + i, k] = lane_sum(sums[quad], i, m)
