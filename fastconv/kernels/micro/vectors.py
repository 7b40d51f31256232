"""What all micro-kernels are made of: the target's vectors, its number of registers, and LLVM IR for both.

A micro-kernel keeps a block of sums in registers, which LLVM does not do for loops written in Numba. Each is made for
float32 and float64 and for the host's vector width. The last, partial vector is loaded and stored under a mask, so
nothing outside the arrays is touched.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastconv._runtime.host import HOST

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


VECTOR_BYTES = HOST.vector_bytes
# lanes of the partial sums that dot products are kept in: a vector of floats; one of doubles uses the first of them
LANES = 16
MANY_REGISTERS = HOST.registers == 32
TILE_ROWS, TILE_VECTORS = HOST.tile_rows, HOST.tile_vectors
# one row or two alone take more vectors, so that there are enough sums to keep the multipliers busy; each width is code
# of its own, which takes time to compile, so there are not all of them; 1 to TILE_VECTORS are needed below taller tiles
WIDTHS = {1: (8, 4, 3, 2, 1) if MANY_REGISTERS else (4, 3, 2, 1), 2: (4, 3, 2, 1)}
ONE_ROW, TWO_ROWS = WIDTHS[1], WIDTHS[2]
# 6 x 4 vectors of sums are as many, and 4 divides the numbers of channels that are usual; pixels side by side have no
# use for tiles so wide, so only those whose rows lie anywhere are compiled
WIDEST, WIDE_ROWS = HOST.widest, (6, 4) if MANY_REGISTERS else ()
# rows of a tile of dot products with four others: 6 x 4 sums or 2 x 4
DOT_ROWS = HOST.dot_rows


class Vectors:
    """Emits loads, stores and arithmetic on vectors of one element type."""

    def __init__(self, builder: ir.IRBuilder, element: types.Number, lanes: int | None = None):
        self.builder, self.element = builder, element
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
        elif HOST.masked_stores:
            self._store_masked(value, pointer, mask)
        else:
            with self.builder.if_else(self._every(mask), likely=True) as (whole, part):
                with whole:
                    self.builder.store(value, pointer, align=self.bits // 8)
                with part:
                    self._store_masked(value, pointer, mask)

    def _every(self, mask: ir.Value) -> ir.Value:
        """Whether a mask is set in all lanes."""
        bits = self.builder.bitcast(mask, ir.IntType(self.lanes))
        return self.builder.icmp_signed("==", bits, ir.Constant(bits.type, -1))

    def _store_masked(self, value: ir.Value, pointer: ir.Value, mask: ir.Value) -> None:
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
        """Slot += a * b, fused where the target can; llvm.fma would be a library call where it cannot."""
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
