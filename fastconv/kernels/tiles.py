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
    """The target's features, as Numba takes them: `NUMBA_CPU_FEATURES` if set, otherwise the host's."""
    given = os.environ.get("NUMBA_CPU_FEATURES")
    if given is not None:
        return {feature[1:] for feature in given.split(",") if feature.startswith("+")}
    return {name for name, there in llvmlite.binding.get_host_cpu_features().items() if there}


FEATURES = _features()
VECTOR_BYTES = 64 if "avx512f" in FEATURES else 32 if "avx" in FEATURES else 16
# lanes of the partial sums that dot products are kept in: a vector of floats; one of doubles uses the first of them
LANES = 16
# vectors along the pixels in a tile of two rows: their sums, the inputs and the weights fit the 32 or 16 registers
ROW_VECTORS = 8 if "avx512f" in FEATURES else 4
# without the JIT, and for the bounds-checked twins, the same sums are plain loops
ENABLED = not numba.config.DISABLE_JIT and os.environ.get("FASTCONV_SERIAL", "0") in ("", "0")


class _Vectors:
    """Emits loads, stores and arithmetic on vectors of one element type."""

    def __init__(self, builder: ir.IRBuilder, element: types.Float):
        self.builder = builder
        self.bits = element.bitwidth
        self.scalar = ir.FloatType() if self.bits == 32 else ir.DoubleType()
        self.lanes = VECTOR_BYTES * 8 // self.bits
        self.type = ir.VectorType(self.scalar, self.lanes)
        self.mask_type = ir.VectorType(I1, self.lanes)
        self.zero = ir.Constant(self.type, [0.0] * self.lanes)
        self.suffix = f"v{self.lanes}f{self.bits}"

    def _declare(self, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
        # declare_intrinsic() cannot mangle vector types, so names are written out
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def _pointer(self, base: ir.Value, index: ir.Value) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(base, [index]), self.type.as_pointer())

    def first(self, count: ir.Value) -> ir.Value:
        """The mask of the first `count` lanes."""
        lane = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_unsigned("<", lane, self.broadcast(count, ir.VectorType(I64, self.lanes)))

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


def _steps(builder, vectors, n, most, body):
    """Cover 0 ... n with body(q, width, mask) in blocks of up to `most` vectors, the last of each under a mask.

    What remains after the whole blocks is shared between two of similar width: one narrow block would leave the
    multipliers waiting for its few sums.
    """
    lanes, one = ir.Constant(I64, vectors.lanes), ir.Constant(I64, 1)
    position = cgutils.alloca_once_value(builder, ir.Constant(I64, 0))
    check, work, end = (builder.append_basic_block(f"steps.{name}") for name in ("check", "work", "end"))
    builder.branch(check)
    builder.position_at_end(check)
    builder.cbranch(builder.icmp_unsigned("<", builder.load(position), n), work, end)
    builder.position_at_end(work)
    q = builder.load(position)
    cells = builder.sub(n, q)
    rest = builder.udiv(builder.sub(builder.add(cells, lanes), one), lanes)
    half = builder.lshr(builder.add(rest, one), one)
    shared = builder.select(builder.icmp_unsigned("<=", rest, ir.Constant(I64, most)), rest, half)
    width = builder.select(
        builder.icmp_unsigned(">=", rest, ir.Constant(I64, 2 * most)), ir.Constant(I64, most), shared
    )
    switch = builder.switch(width, end)
    for w in range(1, most + 1):
        block = builder.append_basic_block(f"steps.width{w}")
        switch.add_case(ir.Constant(I64, w), block)
        builder.position_at_end(block)
        body(q, w, vectors.first(builder.sub(cells, ir.Constant(I64, (w - 1) * vectors.lanes))))
        builder.store(builder.add(q, ir.Constant(I64, w * vectors.lanes)), position)
        builder.branch(check)
    builder.position_at_end(end)


@intrinsic
def rows_tile(typingctx, c, starts, a, a_starts, b, b0, offsets, n):
    """c[starts[i] + q] += sum over k of a[a_starts[i] + k] * b[b0 + offsets[k] + q] for every row i and q < n.

    Precondition: flat arrays of one float type; offsets uint64; tuples of as many uint64 as rows.
    """
    rows = len(starts)
    signature = types.void(c, starts, a, a_starts, b, b0, offsets, n)

    def codegen(context, builder, signature, args):
        c_type, _, a_type, _, b_type, _, offsets_type, _ = signature.args
        C, A, B, off = (
            _data(context, builder, t, v) for t, v in zip((c_type, a_type, b_type, offsets_type), args[0:7:2])
        )
        c_start = cgutils.unpack_tuple(builder, args[1], rows)
        a_row = [builder.gep(A, [start]) for start in cgutils.unpack_tuple(builder, args[3], rows)]
        b0, n = args[5], args[7]
        K = builder.extract_value(args[6], 2)  # the array's number of items
        vectors = _Vectors(builder, c_type.dtype)

        def block(q, width, mask):
            shifts = [ir.Constant(I64, j * vectors.lanes) for j in range(width)]
            at = [[builder.add(builder.add(start, q), shift) for shift in shifts] for start in c_start]
            # stack slots become registers in mem2reg, because every access is static
            sums = [[cgutils.alloca_once(builder, vectors.type) for _ in shifts] for _ in c_start]
            masks = [None] * (width - 1) + [mask]
            for cells, slots in zip(at, sums):
                for cell, slot, m in zip(cells, slots, masks):
                    builder.store(vectors.load(C, cell, m), slot)
            source = builder.add(b0, q)
            with cgutils.for_range(builder, K) as loop:
                x = builder.add(source, builder.load(builder.gep(off, [loop.index])))
                inputs = [vectors.load(B, builder.add(x, shift), m) for shift, m in zip(shifts, masks)]
                for row, slots in zip(a_row, sums):
                    weight = vectors.broadcast(builder.load(builder.gep(row, [loop.index])))
                    for value, slot in zip(inputs, slots):
                        vectors.multiply_add(weight, value, slot)
            for cells, slots in zip(at, sums):
                for cell, slot, m in zip(cells, slots, masks):
                    vectors.store(builder.load(slot), C, cell, m)

        _steps(builder, vectors, n, ROW_VECTORS, block)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def dots_tile(typingctx, t, t0, a, a_starts, b, b_starts, n):
    """t[t0 + i, j, lane] += sum over the q < n of that lane of a[a_starts[i] + q] * b[b_starts[j] + q].

    The lanes stay apart, so that a sum over many images is reduced once.

    Precondition: a and b flat; t C-contiguous, (rows, b_starts, LANES), one float type; tuples of uint64.
    """
    M, N = len(a_starts), len(b_starts)
    signature = types.void(t, t0, a, a_starts, b, b_starts, n)

    def codegen(context, builder, signature, args):
        t_type, _, a_type, _, b_type, _, _ = signature.args
        T, A, B = (_data(context, builder, t, v) for t, v in zip((t_type, a_type, b_type), args[0:5:2]))
        a_rows = [builder.gep(A, [start]) for start in cgutils.unpack_tuple(builder, args[3], M)]
        b_rows = [builder.gep(B, [start]) for start in cgutils.unpack_tuple(builder, args[5], N)]
        vectors, n = _Vectors(builder, t_type.dtype), args[6]
        first = builder.mul(args[1], ir.Constant(I64, N * LANES))
        cells = [[builder.add(first, ir.Constant(I64, (i * N + j) * LANES)) for j in range(N)] for i in range(M)]
        sums = [[cgutils.alloca_once(builder, vectors.type) for _ in row] for row in cells]
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                builder.store(vectors.load(T, cell), sums[i][j])

        def block(q, mask):
            lefts = [vectors.load(row, q, mask) for row in a_rows]
            for j, row in enumerate(b_rows):
                right = vectors.load(row, q, mask)
                for i, left in enumerate(lefts):
                    vectors.multiply_add(left, right, sums[i][j])

        lanes = ir.Constant(I64, vectors.lanes)
        with cgutils.for_range(builder, builder.udiv(n, lanes)) as loop:
            block(builder.mul(loop.index, lanes), None)
        rest = builder.urem(n, lanes)
        with builder.if_then(builder.icmp_unsigned("!=", rest, ir.Constant(I64, 0))):
            block(builder.sub(n, rest), vectors.first(rest))
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                vectors.store(builder.load(sums[i][j]), T, cell)
        return context.get_dummy_value()

    return signature, codegen
