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
# rows of a tile of dot products with four others: 6 x 4 sums or 2 x 4
DOT_ROWS = 6 if MANY_REGISTERS else 2
# without the JIT, and for the bounds-checked twins, the same sums are plain loops
ENABLED = not numba.config.DISABLE_JIT and os.environ.get("FASTCONV_SERIAL", "0") in ("", "0")


class _Vectors:
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
        pointer = self._pointer(base, index)
        if mask is None:
            return self.builder.load(pointer, align=self.bits // 8)
        load = self._declare(
            f"llvm.masked.load.{self.suffix}.p0", self.type, [pointer.type, I32, self.mask_type, self.type]
        )
        return self.builder.call(load, [pointer, ir.Constant(I32, self.bits // 8), mask, self.zero])

    def store(self, value: ir.Value, base: ir.Value, index: ir.Value, mask: ir.Value | None = None) -> None:
        pointer = self._pointer(base, index)
        if mask is None:
            self.builder.store(value, pointer, align=self.bits // 8)
            return
        store = self._declare(
            f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), [self.type, pointer.type, I32, self.mask_type]
        )
        self.builder.call(store, [value, pointer, ir.Constant(I32, self.bits // 8), mask])

    def broadcast(self, value: ir.Value, vector: ir.VectorType | None = None) -> ir.Value:
        vector = vector or self.type
        undefined = ir.Constant(vector, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def multiply_add(self, a: ir.Value, b: ir.Value, slot: ir.Value) -> None:
        """Slot += a * b, fused where the target can; llvm.fma would be a library call where it cannot."""
        fmuladd = self._declare(f"llvm.fmuladd.{self.suffix}", self.type, [self.type] * 3)
        self.builder.store(self.builder.call(fmuladd, [a, b, self.builder.load(slot)]), slot)


def _data(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, value=array).data


def _widths(builder, vectors, widths, n, body):
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


def _strided(builder, base, start, stride, count):
    """Pointers to base[start + i * stride] for i < count."""
    pointers = []
    for _ in range(count):
        pointers.append(builder.gep(base, [start]))
        start = builder.add(start, stride)
    return pointers


@intrinsic(prefer_literal=True)
def rows_tile(typingctx, rows, c, c0, c_row, bias, i0, fresh, floor, a, a0, a_rows, a_terms, b, b0, b_terms, k0, k1, n):
    """c[c0 + i*c_row + q] += sum over k0 <= k < k1 of a[a0 + a_rows[i0 + i] + a_terms[k]] * b[b0 + b_terms[k] + q].

    For i < rows and q < n. Where `fresh`, the sum starts from bias[i0 + i] and not from what c holds. Sums up to
    `floor` are stored as `floor`, NaN as NaN.

    Precondition: `rows` a literal; flat arrays of one float type; a_rows, a_terms, b_terms uint64; the other numbers of
    64 bits; n takes 1 to TILE_VECTORS vectors, or one of WIDTHS[rows].
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    M = rows.literal_value
    numbers = types.uint64
    signature = types.void(
        rows, c, numbers, numbers, bias, numbers, types.boolean, c.dtype, a, numbers, a_rows, a_terms, b, numbers,
        b_terms, numbers, numbers, numbers,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        C, bias, A, a_rows, a_terms, B, b_terms = (
            _data(context, builder, kinds[i], args[i]) for i in (1, 4, 8, 10, 11, 12, 14)
        )
        _, _, c0, c_row, _, i0, fresh, floor, _, a0, _, _, _, b0, _, k0, k1, n = args
        vectors = _Vectors(builder, kinds[1].dtype)
        ids = [builder.add(i0, ir.Constant(I64, i)) for i in range(M)]
        c_rows = _strided(builder, C, c0, c_row, M)
        a_rows = [builder.gep(A, [builder.add(a0, builder.load(builder.gep(a_rows, [i])))]) for i in ids]

        def block(width, mask):
            at = [ir.Constant(I64, j * vectors.lanes) for j in range(width)]
            masks = [None] * (width - 1) + [mask]
            # stack slots become registers in mem2reg, because every access is static
            sums = [[cgutils.alloca_once(builder, vectors.type) for _ in at] for _ in range(M)]
            with builder.if_else(fresh) as (start, go_on):
                with start:
                    for i, slots in zip(ids, sums):
                        value = vectors.broadcast(builder.load(builder.gep(bias, [i])))
                        for slot in slots:
                            builder.store(value, slot)
                with go_on:
                    for row, slots in zip(c_rows, sums):
                        for j, slot, m in zip(at, slots, masks):
                            builder.store(vectors.load(row, j, m), slot)
            with cgutils.for_range(builder, k1, start=k0) as loop:
                x = builder.add(b0, builder.load(builder.gep(b_terms, [loop.index])))
                inputs = [vectors.load(B, builder.add(x, j), m) for j, m in zip(at, masks)]
                term = builder.load(builder.gep(a_terms, [loop.index]))
                for row, slots in zip(a_rows, sums):
                    weight = vectors.broadcast(builder.load(builder.gep(row, [term])))
                    for value, slot in zip(inputs, slots):
                        vectors.multiply_add(weight, value, slot)
            lowest = vectors.broadcast(floor)
            for row, slots in zip(c_rows, sums):
                for j, slot, m in zip(at, slots, masks):
                    total = builder.load(slot)
                    low = builder.fcmp_ordered("<=", total, lowest)
                    vectors.store(builder.select(low, lowest, total), row, j, m)

        _widths(builder, vectors, WIDTHS.get(M, range(1, TILE_VECTORS + 1)), n, block)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def dots_tile(typingctx, rows, t, t0, a, a0, a_row, a_run, b, b_starts, b_run, runs, n):
    """t[t0 + i, j, lane] += sum over r and q of a[a0 + i*a_row + r*a_run + q] * b[b_starts[j] + r*b_run + q].

    For i < rows, j < 4, r < runs and the q < n of that lane. The lanes stay apart, so that a sum over many images is
    reduced once.

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
        T, A, B = (_data(context, builder, kinds[i], args[i]) for i in (1, 3, 7))
        _, _, t0, _, a0, a_row, a_run, _, b_starts, b_run, runs, n = args
        vectors = _Vectors(builder, kinds[1].dtype)
        a_rows = _strided(builder, A, a0, a_row, M)
        b_rows = [builder.gep(B, [start]) for start in cgutils.unpack_tuple(builder, b_starts, N)]
        first = builder.mul(t0, ir.Constant(I64, N * LANES))
        cells = [[builder.add(first, ir.Constant(I64, (i * N + j) * LANES)) for j in range(N)] for i in range(M)]
        sums = [[cgutils.alloca_once(builder, vectors.type) for _ in row] for row in cells]
        for row, slots in zip(cells, sums):
            for cell, slot in zip(row, slots):
                builder.store(vectors.load(T, cell), slot)

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
                step = builder.mul(loop.index, lanes)
                block(builder.add(p, step), builder.add(q, step), None)
            with builder.if_then(some):
                block(builder.add(p, whole), builder.add(q, whole), mask)
        for row, slots in zip(cells, sums):
            for cell, slot in zip(row, slots):
                vectors.store(builder.load(slot), T, cell)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def copy_tile(typingctx, stride, rows, d, d0, d_row, s, s0, s_row, first, last, n):
    """d[d0 + i*d_row + q] = s[s0 + i*s_row + q*stride] where first <= q < last, otherwise 0, for i < rows and q < n.

    Nothing else is read.

    Precondition: `stride` a literal; flat arrays of one float type; numbers of 64 bits, s0 may have wrapped around 0.
    """
    if not isinstance(stride, types.IntegerLiteral):
        return None
    numbers = types.uint64
    signature = types.void(stride, numbers, d, numbers, numbers, s, numbers, numbers, numbers, numbers, numbers)
    gap = stride.literal_value

    def codegen(context, builder, signature, args):
        D, S = (_data(context, builder, signature.args[i], args[i]) for i in (2, 5))
        _, rows, _, d0, d_row, _, s0, s_row, first, last, n = args
        vectors = _Vectors(builder, signature.args[2].dtype)
        wide = _Vectors(builder, signature.args[2].dtype, vectors.lanes * gap)
        every = ir.Constant(wide.mask_type, [lane % gap == 0 for lane in range(wide.lanes)])
        picked = ir.Constant(ir.VectorType(I32, vectors.lanes), list(range(0, wide.lanes, gap)))
        count = ir.Constant(I64, vectors.lanes)
        steps = builder.udiv(builder.sub(builder.add(n, count), ir.Constant(I64, 1)), count)
        with cgutils.for_range(builder, steps) as loop:
            q = builder.mul(loop.index, count)
            there = builder.and_(
                wide.before(builder.sub(last, q), gap), builder.not_(wide.before(builder.sub(first, q), gap))
            )
            mask, cells = builder.and_(there, every), vectors.before(builder.sub(n, q))
            source, target = builder.add(s0, builder.mul(q, ir.Constant(I64, gap))), builder.add(d0, q)
            with cgutils.for_range(builder, rows) as row:
                values = wide.load(S, builder.add(source, builder.mul(row.index, s_row)), mask)
                cell = builder.add(target, builder.mul(row.index, d_row))
                vectors.store(builder.shuffle_vector(values, values, picked), D, cell, cells)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def transpose_tile(typingctx, d, d0, d_row, s, s0, s_row, rows, columns):
    """d[d0 + j*d_row + i] = s[s0 + i*s_row + j] for i < rows and j < columns, each at most a vector's lanes.

    Precondition: flat arrays of one float type; numbers of 64 bits.
    """
    numbers = types.uint64
    signature = types.void(d, numbers, numbers, s, numbers, numbers, numbers, numbers)

    def codegen(context, builder, signature, args):
        D, S = (_data(context, builder, signature.args[i], args[i]) for i in (0, 3))
        _, d0, d_row, _, s0, s_row, rows, columns = args
        vectors = _Vectors(builder, signature.args[0].dtype)
        lanes, zero = vectors.lanes, ir.Constant(I64, 0)
        nothing = ir.Constant(vectors.mask_type, [0] * lanes)

        def masks(there, count):
            # a row that is not there is neither read nor written
            inside = [builder.icmp_unsigned("<", ir.Constant(I64, i), there) for i in range(lanes)]
            return [builder.select(row, vectors.before(count), nothing) for row in inside]

        low = [lane // 2 + lanes * (lane % 2) for lane in range(lanes)]
        halves = [ir.Constant(ir.VectorType(I32, lanes), [index + shift for index in low]) for shift in (0, lanes // 2)]
        block = [
            vectors.load(row, zero, mask)
            for row, mask in zip(_strided(builder, S, s0, s_row, lanes), masks(rows, columns))
        ]
        # each round interleaves the first half of the vectors with the second: log2(lanes) rounds transpose
        for _ in range(lanes.bit_length() - 1):
            pairs = zip(block[: lanes // 2], block[lanes // 2 :])
            block = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in halves]
        for value, row, mask in zip(block, _strided(builder, D, d0, d_row, lanes), masks(columns, rows)):
            vectors.store(value, row, zero, mask)
        return context.get_dummy_value()

    return signature, codegen


class _Windows:
    """Emits the loops of pooling over a row of results: vectors of them, and for each the taps of their windows."""

    def __init__(self, builder, element, gap, X, numbers):
        self.builder, self.gap, self.X = builder, gap, X
        self.x0, self.W, self.ky_count, self.row_step, self.kx_count, self.dx, self.left, self.n = numbers
        self.vectors = _Vectors(builder, element)
        self.wide = _Vectors(builder, element, self.vectors.lanes * gap)
        self.every = ir.Constant(self.wide.mask_type, [lane % gap == 0 for lane in range(self.wide.lanes)])
        self.picked = ir.Constant(ir.VectorType(I32, self.vectors.lanes), list(range(0, self.wide.lanes, gap)))

    def _outputs_before(self, pixels):
        # results whose pixel lies before so many: the quotient by the stride, 1 or 2, rounded up
        one = ir.Constant(I64, self.gap - 1)
        return self.builder.ashr(self.builder.add(pixels, one), one)

    def results(self, body):
        """Run body(q, cells) for each vector of results, from q on, and the mask of those that there are."""
        builder, lanes, one = self.builder, ir.Constant(I64, self.vectors.lanes), ir.Constant(I64, 1)
        steps = builder.udiv(builder.sub(builder.add(self.n, lanes), one), lanes)
        jump = ir.Constant(I64, self.gap)
        last = builder.mul(builder.sub(self.n, one), jump)
        reach = builder.add(last, builder.mul(builder.sub(self.kx_count, one), self.dx))
        self.no_border = builder.and_(
            builder.icmp_signed("==", self.left, ir.Constant(I64, 0)), builder.icmp_signed("<", reach, self.W)
        )
        with cgutils.for_range(builder, steps) as step:
            q = builder.mul(step.index, lanes)
            body(q, self.vectors.before(builder.sub(self.n, q)))

    def taps(self, q, cells, body):
        """Run body(values, inside, cell) for each tap, row by row: a vector of pixels, 0 where there are none.

        `inside` masks the pixels that there are, `cell` is the first one's place from x0.
        """
        builder, bound = self.builder, self.builder.sub(self.n, q)
        lane = builder.mul(q, ir.Constant(I64, self.gap))
        all_there = builder.and_(self.wide.before(bound, self.gap), self.every)

        def tap(ky, kx, inside_plane):
            shift = builder.sub(builder.mul(kx, self.dx), self.left)
            inside, there = cells, all_there
            if not inside_plane:
                first = builder.sub(self._outputs_before(builder.neg(shift)), q)
                last = builder.sub(self._outputs_before(builder.sub(self.W, shift)), q)
                last = builder.select(builder.icmp_signed("<", last, bound), last, bound)
                inside = builder.and_(self.vectors.before(last), builder.not_(self.vectors.before(first)))
                there = builder.and_(self.wide.before(last, self.gap), builder.not_(self.wide.before(first, self.gap)))
                there = builder.and_(there, self.every)
            cell = builder.add(builder.mul(ky, self.row_step), builder.add(lane, shift))
            values = self.wide.load(self.X, builder.add(self.x0, cell), there)
            body(builder.shuffle_vector(values, values, self.picked), inside, cell)

        with builder.if_else(self.no_border) as cases:
            for case, inside_plane in zip(cases, (True, False)):
                with (
                    case,
                    cgutils.for_range(builder, self.ky_count) as ky,
                    cgutils.for_range(builder, self.kx_count) as kx,
                ):
                    tap(ky.index, kx.index, inside_plane)


@intrinsic(prefer_literal=True)
def max_tile(typingctx, stride, y, y0, indices, keep, cell0, x, x0, W, ky_count, row_step, kx_count, dx, left, n):
    """y[y0 + ox] = the maximum of x[x0 + ky*row_step + ix] over ky < ky_count and kx < kx_count, ox < n.

    Where ix = ox*stride + kx*dx - left lies on a row of W pixels. The first of equals wins, and NaN, the first of them.
    Where `keep`, indices[y0 + ox] = cell0 + ky*row_step + ix of the winner.

    Precondition: `stride` is the literal 1 or 2; flat arrays, y and x of one float type; the other numbers of 64 bits;
    each window holds a pixel; indices fit into an integer as wide as the float.
    """
    if not isinstance(stride, types.IntegerLiteral):
        return None
    numbers = types.int64
    signature = types.void(stride, y, numbers, indices, types.boolean, numbers, x, *[numbers] * 8)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        Y, I, X = (_data(context, builder, kinds[i], args[i]) for i in (1, 3, 6))  # noqa: E741
        _, _, y0, _, keep, cell0 = args[:6]
        gap = kinds[0].literal_value
        windows = _Windows(builder, kinds[1].dtype, gap, X, args[7:])
        vectors = windows.vectors
        whole = ir.VectorType(ir.IntType(vectors.bits), vectors.lanes)
        ramp = ir.Constant(whole, list(range(0, windows.wide.lanes, gap)))
        none, nobody = (ir.Constant(whole, [value] * vectors.lanes) for value in (0, -1))
        best, winner = cgutils.alloca_once(builder, vectors.type), cgutils.alloca_once(builder, whole)

        def tap(value, inside, cell):
            first = builder.add(cell0, cell)
            first = first if vectors.bits == 64 else builder.trunc(first, whole.element)
            index = builder.add(vectors.broadcast(first, whole), ramp)
            old, found = builder.load(best), builder.load(winner)
            # larger, or the first NaN, or the first of all
            ahead = builder.and_(builder.fcmp_unordered(">", value, old), builder.fcmp_ordered("ord", old, old))
            wins = builder.and_(inside, builder.or_(ahead, builder.icmp_signed("<", found, none)))
            builder.store(builder.select(wins, value, old), best)
            builder.store(builder.select(wins, index, found), winner)

        def result(q, cells):
            builder.store(vectors.zero, best)
            builder.store(nobody, winner)
            windows.taps(q, cells, tap)
            target = builder.add(y0, q)
            vectors.store(builder.load(best), Y, target, cells)
            with builder.if_then(keep):
                many = _Vectors(builder, types.int64, vectors.lanes)
                found = builder.load(winner)
                many.store(found if vectors.bits == 64 else builder.sext(found, many.type), I, target, cells)

        windows.results(result)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def mean_tile(typingctx, stride, y, y0, row, columns, x, x0, W, ky_count, row_step, kx_count, left, n):
    """y[y0 + ox] = the sum over the window that `max_tile` takes the maximum of, divided by row * columns[ox].

    Precondition: as there; row int64, columns (n,) int64.
    """
    if not isinstance(stride, types.IntegerLiteral):
        return None
    numbers = types.int64
    signature = types.void(stride, y, numbers, numbers, columns, x, *[numbers] * 7)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        Y, columns, X = (_data(context, builder, kinds[i], args[i]) for i in (1, 4, 5))
        y0, row = args[2:4]
        x0, W, ky_count, row_step, kx_count, left, n = args[6:]
        numbers = x0, W, ky_count, row_step, kx_count, ir.Constant(I64, 1), left, n
        windows = _Windows(builder, kinds[1].dtype, kinds[0].literal_value, X, numbers)
        vectors = windows.vectors
        many = _Vectors(builder, types.int64, vectors.lanes)
        total = cgutils.alloca_once(builder, vectors.type)

        def tap(value, inside, cell):
            builder.store(builder.fadd(builder.load(total), value), total)

        def result(q, cells):
            builder.store(vectors.zero, total)
            windows.taps(q, cells, tap)
            # the product is taken in integers, so that it is rounded once; lanes that are not there are divided by 0
            divisor = builder.mul(many.load(columns, q, cells), many.broadcast(row))
            mean = builder.fdiv(builder.load(total), builder.sitofp(divisor, vectors.type))
            vectors.store(mean, Y, builder.add(y0, q), cells)

        windows.results(result)
        return context.get_dummy_value()

    return signature, codegen


class _Cells:
    """Emits the loops over windows of cells, of LANES numbers each, as few vectors as hold one."""

    def __init__(self, builder, element):
        self.builder, self.vectors = builder, _Vectors(builder, element)

    def windows(self, width, body):
        """Run body(px, shift) for every window and each vector of its cell, `shift` numbers into it."""
        parts = max(1, LANES // self.vectors.lanes)
        with cgutils.for_range(self.builder, width) as loop:
            for part in range(parts):
                body(loop.index, ir.Constant(I64, part * self.vectors.lanes))

    def taps(self, rows, columns, row_step, body):
        """Run body(place, number) for every tap of a window, its place and its number as a vector."""
        builder, vectors = self.builder, self.vectors
        number = cgutils.alloca_once_value(builder, ir.Constant(vectors.scalar, 0.0))
        builder.store(ir.Constant(vectors.scalar, 0.0), number)
        with cgutils.for_range(builder, rows) as row, cgutils.for_range(builder, columns) as column:
            place = builder.mul(row.index, row_step)
            place = builder.add(place, builder.mul(column.index, ir.Constant(I64, LANES)))
            body(place, vectors.broadcast(builder.load(number)))
            builder.store(builder.fadd(builder.load(number), ir.Constant(vectors.scalar, 1.0)), number)


@intrinsic
def max_cells(typingctx, y, y0, numbers, n0, s, s0, rows, columns, row_step, width):
    """The largest number of each lane in `width` windows of cells side by side, and the tap that it is at.

    y[y0 + px*LANES + lane] and numbers[n0 + px*LANES + lane], of the taps (r, c) with r < rows and c < columns at
    s[s0 + px*columns*LANES + r*row_step + c*LANES + lane]. NaN wins, and the first of equal numbers.

    Precondition: flat arrays of one float type, numbers of 64 bits.
    """
    places = types.uint64
    signature = types.void(y, places, numbers, places, s, places, places, places, places, places)

    def codegen(context, builder, signature, args):
        Y, numbers, S = (_data(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, y0, _, n0, _, s0, rows, columns, row_step, width = args
        cells = _Cells(builder, signature.args[0].dtype)
        vectors, lanes = cells.vectors, ir.Constant(I64, LANES)
        best, at = (cgutils.alloca_once(builder, vectors.type) for _ in range(2))

        def window(px, shift):
            cell = builder.add(builder.mul(px, lanes), shift)
            corner = builder.add(s0, builder.add(builder.mul(builder.mul(px, columns), lanes), shift))
            builder.store(vectors.load(S, corner), best)
            builder.store(vectors.zero, at)

            def tap(place, number):
                value, most = vectors.load(S, builder.add(corner, place)), builder.load(best)
                news = builder.and_(
                    builder.fcmp_unordered("uno", value, value), builder.fcmp_ordered("ord", most, most)
                )
                better = builder.or_(builder.fcmp_ordered(">", value, most), news)
                builder.store(builder.select(better, value, most), best)
                builder.store(builder.select(better, number, builder.load(at)), at)

            cells.taps(rows, columns, row_step, tap)
            vectors.store(builder.load(best), Y, builder.add(y0, cell))
            vectors.store(builder.load(at), numbers, builder.add(n0, cell))

        cells.windows(width, window)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def spread_cells(typingctx, s, s0, g, g0, numbers, n0, rows, columns, row_step, width):
    """The way back of `max_cells`: each g goes to the tap that its number tells, and 0 to the others.

    Precondition: as for `max_cells`; s is overwritten where the windows are.
    """
    places = types.uint64
    signature = types.void(s, places, g, places, numbers, places, places, places, places, places)

    def codegen(context, builder, signature, args):
        S, G, numbers = (_data(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, s0, _, g0, _, n0, rows, columns, row_step, width = args
        cells = _Cells(builder, signature.args[0].dtype)
        vectors, lanes = cells.vectors, ir.Constant(I64, LANES)

        def window(px, shift):
            cell = builder.add(builder.mul(px, lanes), shift)
            corner = builder.add(s0, builder.add(builder.mul(builder.mul(px, columns), lanes), shift))
            value, at = vectors.load(G, builder.add(g0, cell)), vectors.load(numbers, builder.add(n0, cell))

            def tap(place, number):
                there = builder.fcmp_ordered("==", at, number)
                vectors.store(builder.select(there, value, vectors.zero), S, builder.add(corner, place))

            cells.taps(rows, columns, row_step, tap)

        cells.windows(width, window)
        return context.get_dummy_value()

    return signature, codegen
