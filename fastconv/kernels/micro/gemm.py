"""The vector tiles: LLVM IR that keeps a block of sums in registers, which LLVM does not do for loops written in Numba.

Two forms, each for float32 and float64 and for the host's vector width: rows of sums along the pixels, from a broadcast
times a vector, and sums of products along the pixels. The last, partial vector is loaded and stored under a mask, so
nothing outside the arrays is touched.
"""

from __future__ import annotations

import os

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


def _features() -> set[str]:
    """The target's features, as Numba takes them: those it is told to use, otherwise the host's."""
    given = numba.config.CPU_FEATURES  # of `NUMBA_CPU_FEATURES`; none for the CPU "generic"
    if given is not None:
        return {feature[1:] for feature in given.split(",") if feature.startswith("+")}
    return {name for name, there in llvmlite.binding.get_host_cpu_features().items() if there}


FEATURES = _features()
VECTOR_BYTES = 64 if "avx512f" in FEATURES else 32 if "avx" in FEATURES else 16
# lanes of the partial sums that dot products are kept in: a vector of floats; one of doubles uses the first of them
LANES = 16
# 32 registers hold a tile of 8 x 3 vectors of sums, its inputs and a weight; 16 hold 4 x 3
MANY_REGISTERS = "avx512f" in FEATURES
TILE_ROWS = 8 if MANY_REGISTERS else 4
TILE_VECTORS = 3
# one row or two alone take more vectors, so that there are enough sums to keep the multipliers busy; each width is code
# of its own, which takes time to compile, so there are not all of them; 1 to TILE_VECTORS are needed below taller tiles
WIDTHS = {1: (8, 4, 3, 2, 1) if MANY_REGISTERS else (4, 3, 2, 1), 2: (4, 3, 2, 1)}
ONE_ROW, TWO_ROWS = WIDTHS[1], WIDTHS[2]
# 6 x 4 vectors of sums are as many, and 4 divides the numbers of channels that are usual; pixels side by side have no
# use for tiles so wide, so only those whose rows lie anywhere are compiled
WIDEST, WIDE_ROWS = (4, (6, 4)) if MANY_REGISTERS else (TILE_VECTORS, ())
# rows of a tile of dot products with four others: 6 x 4 sums or 2 x 4
DOT_ROWS = 6 if MANY_REGISTERS else 2
# without the JIT, and for the bounds-checked twins, the same sums are plain loops
ENABLED = not numba.config.DISABLE_JIT and os.environ.get("FASTCONV_SERIAL", "0") in ("", "0")


class Vectors:
    """Emits loads, stores and arithmetic on vectors of one element type."""

    def __init__(self, builder: ir.IRBuilder, element: types.Number, lanes: int | None = None):
        self.builder = builder
        self.bits = element.bitwidth
        whole = isinstance(element, types.Integer)
        self.scalar = ir.IntType(self.bits) if whole else ir.FloatType() if self.bits == 32 else ir.DoubleType()
        self.lanes = lanes or VECTOR_BYTES * 8 // self.bits
        self.type = ir.VectorType(self.scalar, self.lanes)
        self.mask_type = ir.VectorType(I1, self.lanes)
        self.zero = ir.Constant(self.type, [0 if whole else 0.0] * self.lanes)
        self.suffix = f"v{self.lanes}{'i' if whole else 'f'}{self.bits}"

    def _declare(self, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
        # declare_intrinsic() cannot mangle vector types, so names are written out
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def _pointer(self, base: ir.Value, index: ir.Value) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(base, [index]), self.type.as_pointer())

    def before(self, count: ir.Value, gap: int = 1) -> ir.Value:
        """The mask of the lanes whose number, divided by `gap`, is below `count`, a signed number."""
        # compared in integers as wide as the elements: one instruction a vector
        integer = ir.IntType(self.bits)
        most = ir.Constant(I64, self.lanes)
        count = self.builder.select(self.builder.icmp_signed(">", count, most), most, count)
        if self.bits < 64:
            none = ir.Constant(I64, 0)
            count = self.builder.select(self.builder.icmp_signed("<", count, none), none, count)
            count = self.builder.trunc(count, integer)
        kind = ir.VectorType(integer, self.lanes)
        lane = ir.Constant(kind, [lane // gap for lane in range(self.lanes)])
        return self.builder.icmp_signed("<", lane, self.broadcast(count, kind))

    def load(self, base: ir.Value, index: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """The vector that begins at base[index]; zeros, unread, where the mask is not set."""
        pointer = self._pointer(base, index)
        if mask is None:
            return self.builder.load(pointer, align=self.bits // 8)
        load = self._declare(
            f"llvm.masked.load.{self.suffix}.p0", self.type, [pointer.type, I32, self.mask_type, self.type]
        )
        return self.builder.call(load, [pointer, ir.Constant(I32, self.bits // 8), mask, self.zero])

    def store(self, value: ir.Value, base: ir.Value, index: ir.Value, mask: ir.Value | None = None) -> None:
        """base[index], and what follows, becomes the vector, where the mask is set."""
        pointer = self._pointer(base, index)
        if mask is None:
            self.builder.store(value, pointer, align=self.bits // 8)
            return
        store = self._declare(
            f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), [self.type, pointer.type, I32, self.mask_type]
        )
        self.builder.call(store, [value, pointer, ir.Constant(I32, self.bits // 8), mask])

    def broadcast(self, value: ir.Value, vector: ir.VectorType | None = None) -> ir.Value:
        """The vector of which every lane is `value`."""
        vector = vector or self.type
        undefined = ir.Constant(vector, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def keep_loop(self) -> None:
        """Keep LLVM from unrolling the loop around, which is long enough, and then takes long to compile."""
        nothing = self.builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)
        nothing.attributes.add("convergent")

    def multiply_add(self, a: ir.Value, b: ir.Value, slot: ir.Value) -> None:
        """slot += a * b, fused where the target can; llvm.fma would be a library call where it cannot."""
        fmuladd = self._declare(f"llvm.fmuladd.{self.suffix}", self.type, [self.type] * 3)
        self.builder.store(self.builder.call(fmuladd, [a, b, self.builder.load(slot)]), slot)


def data_of(context, builder, array_type, array):
    """The pointer to an array's first element."""
    return context.make_array(array_type)(context, builder, value=array).data


def by_width(builder, vectors, widths, n, body):
    """Run body(width, mask) for the vectors that n cells need, one of `widths`, the last of them under a mask."""
    lanes, one = ir.Constant(I64, vectors.lanes), ir.Constant(I64, 1)
    end = builder.append_basic_block("width.end")
    switch = builder.switch(builder.udiv(builder.sub(builder.add(n, lanes), one), lanes), end)
    for width in widths:
        block = builder.append_basic_block(f"width.{width}")
        switch.add_case(ir.Constant(I64, width), block)
        builder.position_at_end(block)
        body(width, vectors.before(builder.sub(n, ir.Constant(I64, (width - 1) * vectors.lanes))))
        builder.branch(end)
    builder.position_at_end(end)


def strided(builder, base, start, stride, count):
    """Pointers to base[start + i * stride] for i < count."""
    pointers = []
    for _ in range(count):
        pointers.append(builder.gep(base, [start]))
        start = builder.add(start, stride)
    return pointers


def in_blocks(builder, k0, k1, chain, fresh, begin, terms, put):
    """Run begin(first), terms(low, high) and put(first, last) for blocks of `chain` terms from k0 to k1, at least one.

    `first` tells whether it is the first block and nothing was there before, `last` whether it is the last one.
    """
    low, first = cgutils.alloca_once_value(builder, k0), cgutils.alloca_once_value(builder, fresh)
    loop, end = builder.append_basic_block("block"), builder.append_basic_block("block.end")
    builder.branch(loop)
    builder.position_at_end(loop)
    here, new = builder.load(low), builder.load(first)
    further = builder.add(here, chain)
    more = builder.icmp_signed("<", further, k1)
    begin(new)
    terms(here, builder.select(more, further, k1))
    put(new, builder.not_(more))
    builder.store(further, low)
    builder.store(ir.Constant(I1, 0), first)
    builder.cbranch(more, loop, end)
    builder.position_at_end(end)


@intrinsic(prefer_literal=True)
def rows_tile(
    typingctx, rows, c, c0, c_row, bias, i0, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, chain, n
):
    """c[c0 + i*c_row + q] += sum over k0 <= k < k1 of a[a0 + a_rows[i] + a_terms[k]] * b[b0 + b_terms[k] + q].

    For i0 <= i < i0 + rows and q < n. Where `fresh`, the sum starts from bias[i] and not from what c holds. Sums up to
    `floor` are stored as `floor`, NaN as NaN. With an array `c_row` the rows of c lie anywhere, and each has the same
    start: c[c0 + c_row[i] + q] from bias[q]. The terms are summed before they are added to what c holds (see
    `shares.chain_of`), with an array `c_row` in blocks of `chain` terms.

    Precondition: `rows` a literal; c_row a number or an array of uint64; flat arrays of one float type; a_rows, a_terms
    and b_terms uint64; the other numbers of 64 bits; n takes 1 to TILE_VECTORS vectors, with
    an array `c_row` and one of WIDE_ROWS 1 to WIDEST, or one of WIDTHS[rows].
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    M = rows.literal_value
    numbers = types.uint64
    table = isinstance(c_row, types.Array)
    signature = types.void(
        rows, c, numbers, c_row if table else numbers, bias, numbers, types.boolean, c.dtype, a, numbers, a_rows,
        a_terms, b, numbers, b_terms, numbers, numbers, numbers, numbers,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        C, bias, A, a_rows, a_terms, B, b_terms = (
            data_of(context, builder, kinds[i], args[i]) for i in (1, 4, 8, 10, 11, 12, 14)
        )
        _, _, c0, c_row, _, i0, fresh, floor, _, a0, _, _, _, b0, _, k0, k1, chain, n = args
        vectors = Vectors(builder, kinds[1].dtype)
        ids = [builder.add(i0, ir.Constant(I64, i)) for i in range(M)]
        if table:
            places = data_of(context, builder, kinds[3], c_row)
            c_rows = [builder.gep(C, [builder.add(c0, builder.load(builder.gep(places, [i])))]) for i in ids]
        else:
            c_rows = strided(builder, C, builder.add(c0, builder.mul(i0, c_row)), c_row, M)
        a_rows = [builder.gep(A, [builder.add(a0, builder.load(builder.gep(a_rows, [i])))]) for i in ids]

        def block(width, mask):
            at = [ir.Constant(I64, j * vectors.lanes) for j in range(width)]
            masks = [mask if width == 1 else None] * width
            if width > 1:
                # whole, and ending with the last cell: lanes that two vectors share have the same sums in both. A load
                # under a mask takes one of the multipliers' turns (measured: 226 against 238 GFLOP/s of a peak of 247)
                at[-1] = builder.sub(n, ir.Constant(I64, vectors.lanes))
            # stack slots become registers in mem2reg, because every access is static
            sums = [[cgutils.alloca_once(builder, vectors.type) for _ in at] for _ in range(M)]
            # a pointer for each vector: one base and an index more than there are registers for would spill sums
            inputs_at = [builder.gep(B, [builder.add(b0, j)]) for j in at]

            def begin(first):
                with builder.if_else(first) as (start, go_on):
                    with start:
                        shared = [vectors.load(bias, j, m) for j, m in zip(at, masks)] if table else None
                        for i, slots in zip(ids, sums):
                            own = shared or [vectors.broadcast(builder.load(builder.gep(bias, [i])))] * width
                            for value, slot in zip(own, slots):
                                builder.store(value, slot)
                    with go_on:
                        for slot in (slot for slots in sums for slot in slots):
                            builder.store(vectors.zero, slot)

            def terms(low, high):
                with cgutils.for_range(builder, high, start=low) as loop:
                    vectors.keep_loop()
                    x = builder.load(builder.gep(b_terms, [loop.index]))
                    inputs = [vectors.load(base, x, m) for base, m in zip(inputs_at, masks)]
                    term = builder.load(builder.gep(a_terms, [loop.index]))
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
                # without a floor, the comparisons would take the multipliers' turns: a fiftieth of 128 terms
                with builder.if_then(builder.and_(last, limited)):
                    for slot in (slot for slots in sums for slot in slots):
                        total = builder.load(slot)
                        low = builder.fcmp_ordered("<=", total, lowest)
                        builder.store(builder.select(low, lowest, total), slot)
                for row, slots in zip(c_rows, sums):
                    for j, slot, m in zip(at, slots, masks):
                        vectors.store(builder.load(slot), row, j, m)

            lowest = vectors.broadcast(floor)
            limited = builder.fcmp_ordered(">", floor, ir.Constant(floor.type, float("-inf")))
            if table:
                in_blocks(builder, k0, k1, chain, fresh, begin, terms, put)
            else:
                begin(fresh)
                terms(k0, k1)
                put(fresh, ir.Constant(I1, 1))

        most = WIDEST if table and M in WIDE_ROWS else TILE_VECTORS
        by_width(builder, vectors, WIDTHS.get(M, range(1, most + 1)), n, block)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def dots_tile(typingctx, rows, t, t0, a, a0, a_row, a_run, b, b_starts, b_run, runs, n):
    """t[t0 + i, j, lane] += sum over r and q of a[a0 + i*a_row + r*a_run + q] * b[b_starts[j] + r*b_run + q].

    For i < rows, j < 4, r < runs and the q < n of that lane, summed before they are added to t. The lanes stay apart,
    so that a sum over many images is reduced once.

    Precondition: `rows` a literal; a and b flat, t C-contiguous, (rows, 4, LANES), one float type; numbers of 64 bits;
    four b_starts, uint64.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    M, N = rows.literal_value, len(b_starts)
    numbers = types.uint64
    signature = types.void(
        rows, t, numbers, a, numbers, numbers, numbers, b, b_starts, numbers, numbers, numbers
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        T, A, B = (data_of(context, builder, kinds[i], args[i]) for i in (1, 3, 7))
        _, _, t0, _, a0, a_row, a_run, _, b_starts, b_run, runs, n = args
        vectors = Vectors(builder, kinds[1].dtype)
        a_rows = strided(builder, A, a0, a_row, M)
        b_rows = [builder.gep(B, [start]) for start in cgutils.unpack_tuple(builder, b_starts, N)]
        first = builder.mul(t0, ir.Constant(I64, N * LANES))
        cells = [[builder.add(first, ir.Constant(I64, (i * N + j) * LANES)) for j in range(N)] for i in range(M)]
        sums = [[cgutils.alloca_once(builder, vectors.type) for _ in row] for row in cells]
        for slot in (slot for slots in sums for slot in slots):
            builder.store(vectors.zero, slot)

        def block(p, q, mask):
            lefts = [vectors.load(row, p, mask) for row in a_rows]
            for j, row in enumerate(b_rows):
                right = vectors.load(row, q, mask)
                for i, left in enumerate(lefts):
                    vectors.multiply_add(left, right, sums[i][j])

        lanes = ir.Constant(I64, vectors.lanes)
        whole = builder.mul(builder.udiv(n, lanes), lanes)
        rest = builder.sub(n, whole)
        mask, some = vectors.before(rest), builder.icmp_unsigned("!=", rest, ir.Constant(I64, 0))
        with cgutils.for_range(builder, runs) as run:
            p, q = builder.mul(run.index, a_run), builder.mul(run.index, b_run)
            with cgutils.for_range(builder, builder.udiv(n, lanes)) as loop:
                vectors.keep_loop()
                step = builder.mul(loop.index, lanes)
                block(builder.add(p, step), builder.add(q, step), None)
            with builder.if_then(some):
                block(builder.add(p, whole), builder.add(q, whole), mask)
        for row, slots in zip(cells, sums):
            for cell, slot in zip(row, slots):
                vectors.store(builder.fadd(vectors.load(T, cell), builder.load(slot)), T, cell)
        return context.get_dummy_value()

    return signature, codegen
