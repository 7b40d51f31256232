"""Matrix products C = A B + C for rows that lie anywhere: what convolution along pixels or channels is made of.

The micro-kernel keeps MR x NR sums in registers; the loops around it cut a product into such tiles and its reduction
into blocks. Where there is no JIT, or bounds are checked, the same sums are plain loops. Indices are unsigned on
purpose: for a signed index Numba tests for wrap-around at every access, which keeps LLVM from vectorising (measured: 12
against 90 GFLOP/s on one AVX-512 core).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import helper, inlined, linked_helper
from fastconv.kernels.blocking import term_part
from fastconv.kernels.micro.records import Panel, Region, Terms, is_a, unpacked
from fastconv.kernels.micro.vectors import (
    I1,
    I64,
    MANY_REGISTERS,
    ONE_ROW,
    TILE_ROWS,
    TILE_VECTORS,
    TWO_ROWS,
    VECTOR_BYTES,
    WIDE_ROWS,
    WIDEST,
    WIDTHS,
    Vectors,
    by_width,
    in_blocks,
    strided,
)

# Terms summed at once: their inputs, a tile wide, stay in the L1 cache while all rows of weights use them.
# Terms are the outer loop, so that each weight comes from beyond the L2 cache once.
TERM_BLOCK = 144
# Terms whose blocks are summed one after another; the sums of more are set aside (see `blocking.chain_of`).
MOST_TERMS = 2**18


@intrinsic(prefer_literal=True)
def rows_tile(typingctx, rows, c, c0, a, a0, b, b0, epilogue, terms, first, n):
    """The micro-kernel: c(i, 0, q) += sum over the terms k of a(i, k) * b(k, 0, q), from c0, a0 and b0 on.

    For first <= i < first + rows (MR) and q < n (NR). The sums start from bias[i], or are clamped, as the epilogue says
    and where these are the first or the last terms. A panel c has rows that lie anywhere, and each starts from the same
    bias[q]. The terms are summed before they are added to what c holds (see `blocking.chain_of`), for a panel c in
    blocks of `chain` terms.

    Precondition: `rows` a literal; c a Region or a Panel, a a Matrix, b a Panel, all of one float type; the numbers of
    64 bits; n takes 1 to TILE_VECTORS vectors, for a panel c and one of WIDE_ROWS 1 to WIDEST, or one of WIDTHS[rows].
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    MR = rows.literal_value
    number = types.uint64
    signature = types.void(rows, c, number, a, number, b, number, epilogue, terms, number, number)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        panel = is_a(kinds[1], Panel)
        c, a, b, epilogue, part = (unpacked(context, builder, kinds[i], args[i]) for i in (1, 3, 5, 7, 8))
        c0, a0, b0, first, n = (args[i] for i in (2, 4, 6, 9, 10))
        vectors = Vectors(builder, kinds[1].types[0].dtype)
        ids = [builder.add(first, ir.Constant(I64, i)) for i in range(MR)]
        if panel:
            c_rows = [builder.gep(c.data, [builder.add(c0, builder.load(builder.gep(c.rows, [i])))]) for i in ids]
        else:
            c_rows = strided(builder, c.data, builder.add(c0, builder.mul(first, c.row)), c.row, MR)
        a_rows = [builder.gep(a.data, [builder.add(a0, builder.load(builder.gep(a.rows, [i])))]) for i in ids]
        fresh = builder.and_(epilogue.overwrite, part.first)

        def block(width, mask):
            at = [ir.Constant(I64, j * vectors.lanes) for j in range(width)]
            masks = [mask if width == 1 else None] * width
            if width > 1:
                # whole, and ending with the last cell: lanes that two vectors share have the same sums in both. A load
                # under a mask takes one of the multipliers' turns (measured: 226 against 238 GFLOP/s of a peak of 247)
                at[-1] = builder.sub(n, ir.Constant(I64, vectors.lanes))
            # stack slots become registers in mem2reg, because every access is static
            sums = [[cgutils.alloca_once(builder, vectors.type) for _ in at] for _ in range(MR)]
            # a pointer for each vector: one base and an index more than there are registers for would spill sums
            inputs_at = [builder.gep(b.data, [builder.add(b0, j)]) for j in at]

            def begin(first):
                with builder.if_else(first) as (start, go_on):
                    with start:
                        shared = [vectors.load(epilogue.bias, j, m) for j, m in zip(at, masks)] if panel else None
                        for i, slots in zip(ids, sums):
                            own = shared or [vectors.broadcast(builder.load(builder.gep(epilogue.bias, [i])))] * width
                            for value, slot in zip(own, slots):
                                builder.store(value, slot)
                    with go_on:
                        for slot in (slot for slots in sums for slot in slots):
                            builder.store(vectors.zero, slot)

            def products(low, high):
                with cgutils.for_range(builder, high, start=low) as loop:
                    vectors.keep_loop()
                    x = builder.load(builder.gep(b.rows, [loop.index]))
                    inputs = [vectors.load(base, x, m) for base, m in zip(inputs_at, masks)]
                    term = builder.load(builder.gep(a.columns, [loop.index]))
                    for row, slots in zip(a_rows, sums):
                        weight = vectors.broadcast(builder.load(builder.gep(row, [term])))
                        for value, slot in zip(inputs, slots):
                            vectors.multiply_add(weight, value, slot)

            def put(first, last):
                with builder.if_then(builder.not_(first)):
                    for row, slots in zip(c_rows, sums):
                        # all of a row before the last vector is stored, which may share lanes with the one before
                        for slot, old in zip(slots, [vectors.load(row, j, m) for j, m in zip(at, masks)]):
                            builder.store(builder.fadd(builder.load(slot), old), slot)
                # without a clamp, the comparisons would take the multipliers' turns: a fiftieth of 128 terms
                with builder.if_then(builder.and_(last, limited)):
                    for slot in (slot for slots in sums for slot in slots):
                        total = builder.load(slot)
                        low = builder.fcmp_ordered("<=", total, lowest)
                        builder.store(builder.select(low, lowest, total), slot)
                for row, slots in zip(c_rows, sums):
                    for j, slot, m in zip(at, slots, masks):
                        vectors.store(builder.load(slot), row, j, m)

            lowest = vectors.broadcast(epilogue.lowest)
            limited = builder.fcmp_ordered(">", epilogue.lowest, ir.Constant(vectors.scalar, float("-inf")))
            limited = builder.and_(limited, part.last)
            if panel:
                in_blocks(builder, part.begin, part.end, part.chain, fresh, begin, products, put)
            else:
                begin(fresh)
                products(part.begin, part.end)
                put(fresh, ir.Constant(I1, 1))

        most = WIDEST if panel and MR in WIDE_ROWS else TILE_VECTORS
        by_width(builder, vectors, WIDTHS.get(MR, range(1, most + 1)), n, block)
        return context.get_dummy_value()

    return signature, codegen


@helper
def _width(rows, left):
    """The vectors of the next tile of `rows` rows, of those that are left."""
    if rows == 1:
        for width in ONE_ROW:
            if width <= left:
                return width
    if rows == 2:
        for width in TWO_ROWS:
            if width <= left:
                return width
    # shared between the tiles that are left: a narrow last one would starve the multipliers
    return ceil_div(left, ceil_div(left, TILE_VECTORS))


@inlined
def _tiles_of_rows(rows, c, c0, a, a0, b, b0, epilogue, terms, n, wide):
    """One tile wide and `rows` high, from tiles of as many rows as the registers hold; fewer than three if `wide`."""
    i = np.int64(0)
    if MANY_REGISTERS:
        while rows - i >= TILE_ROWS and not wide:
            rows_tile(TILE_ROWS, c, c0, a, a0, b, b0, epilogue, terms, i, n)
            i += TILE_ROWS
        # four and four are faster than six and two, whose weights come from the L2 cache for few sums
        while rows - i >= 6 and (rows - i) // 2 != 4:
            rows_tile(6, c, c0, a, a0, b, b0, epilogue, terms, i, n)
            i += 6
    while rows - i >= 4:
        rows_tile(4, c, c0, a, a0, b, b0, epilogue, terms, i, n)
        i += 4
    if rows - i == 3 and not wide:
        rows_tile(3, c, c0, a, a0, b, b0, epilogue, terms, i, n)
        i += 3
    if rows - i >= 2:
        rows_tile(2, c, c0, a, a0, b, b0, epilogue, terms, i, n)
        i += 2
    if rows - i == 1:
        rows_tile(1, c, c0, a, a0, b, b0, epilogue, terms, i, n)


@linked_helper
def _add_region(c, c0, d, rows, runs, n, lowest):
    """c(i, r, q) += d(i, r, q), regions, from c0 and 0 on; up to `lowest` it is `lowest`."""
    C, D = c.data, d.data
    for i in range(rows):
        for r in range(runs):
            target = np.uint64(c0 + i * c.row + r * c.run)
            source = np.uint64(i * d.row + r * d.run)
            for q in range(np.uint64(n)):
                total = C[target + q] + D[source + q]
                C[target + q] = lowest if total <= lowest else total


@linked_helper
def add_rows(c, c0, a, a0, b, b0, epilogue, runs, n):
    """c(i, r, q) += sum over k of a(i, k) * b(k, r, q), for all rows of a, r < runs and q < n.

    From c0, a0 and b0 on. With the epilogue: the sums start from bias[i] and not from what c holds if they overwrite
    it, and are clamped.

    Precondition: c a Region, a a Matrix, b a Panel, with as many rows as a has columns, all of one float type; the
    numbers int64, none negative (and not literals, for each of which Numba would compile once more).
    """
    rows, K = a.rows.size, b.rows.size
    if ENABLED:
        lanes = VECTOR_BYTES // c.data.itemsize
        block = term_part(min(K, MOST_TERMS), TERM_BLOCK)
        for k in range(0, max(K, 1), MOST_TERMS):  # nearly always once
            end = min(k + MOST_TERMS, K)
            sums, start = c, c0
            if k > 0:
                sums, start = Region(np.zeros(rows * runs * n, c.data.dtype), runs * n, n), np.int64(0)
            for k0 in range(k, max(end, 1), block):
                terms = Terms(k0, min(k0 + block, end), block, k0 == 0, k == 0 and k0 + block >= K)
                for r in range(runs):
                    q = 0
                    while q < n:
                        m = min(n - q, _width(rows, ceil_div(n - q, lanes)) * lanes)
                        _tiles_of_rows(
                            rows, sums, start + r * sums.run + q, a, a0, b, b0 + r * b.run + q, epilogue, terms, m,
                            m > TILE_VECTORS * lanes,
                        )  # fmt: skip
                        q += m
            if k > 0:
                lowest = epilogue.lowest if end == K else c.data.dtype.type(-np.inf)
                _add_region(c, c0, sums, rows, runs, n, lowest)
        return
    C, A, B, columns, offsets = c.data, a.data, b.data, a.columns, b.rows
    for i in range(rows):
        row = np.uint64(a0) + a.rows[i]
        for r in range(runs):
            target, source = np.uint64(c0 + i * c.row + r * c.run), np.uint64(b0 + r * b.run)
            for q in range(np.uint64(n)):
                total = epilogue.bias[i] if epilogue.overwrite else C[target + q]
                for k in range(K):
                    total += A[row + columns[k]] * B[source + offsets[k] + q]
                C[target + q] = epilogue.lowest if total <= epilogue.lowest else total


@linked_helper
def add_to_rows(c, c0, a, a0, b, b0, epilogue, chain, n):
    """As `add_rows`, one run, to rows that lie anywhere: c(i, 0, q) += sum over k of a(i, k) * b(k, 0, q).

    Sums that overwrite start from bias[q]. `chain` terms are summed one after another.

    Precondition: as for `add_rows`, but c a Panel with as many rows as a; n takes at most WIDEST vectors.
    """
    rows, K = a.rows.size, b.rows.size
    if ENABLED:
        zero, every = np.int64(0), np.bool_(True)
        _tiles_of_rows(
            rows, c, c0, a, a0, b, b0, epilogue, Terms(zero, K, chain, every, every), n,
            n > TILE_VECTORS * (VECTOR_BYTES // c.data.itemsize),
        )  # fmt: skip
        return
    C, A, B, columns, offsets, start = c.data, a.data, b.data, a.columns, b.rows, np.uint64(b0)
    for i in range(rows):
        target, source = np.uint64(c0) + c.rows[i], np.uint64(a0) + a.rows[i]
        for q in range(np.uint64(n)):
            total = epilogue.bias[q] if epilogue.overwrite else C[target + q]
            for k in range(K):
                total += A[source + columns[k]] * B[start + offsets[k] + q]
            C[target + q] = epilogue.lowest if total <= epilogue.lowest else total
