"""What moves cells: rows of them copied under masks, blocks transposed in registers."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.host import ENABLED, HOST
from fastconv._runtime.jit import linked_helper
from fastconv.kernels.micro.vectors import I32, I64, VECTOR_BYTES, Vectors, data_of, strided


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
        D, S = (data_of(context, builder, signature.args[i], args[i]) for i in (2, 5))
        _, rows, _, d0, d_row, _, s0, s_row, first, last, n = args
        vectors = Vectors(builder, signature.args[2].dtype)
        wide = Vectors(builder, signature.args[2].dtype, vectors.lanes * gap)
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
def add_tile(typingctx, rows, d, d0, d_row, s, s0, s_row, first, last):
    """d[d0 + i*d_row + q] += s[s0 + i*s_row + q] where first <= q < last, for i < rows. Nothing else is read.

    Precondition: flat arrays of one float type; numbers of 64 bits, d0 may have wrapped around 0.
    """
    numbers = types.uint64
    signature = types.void(numbers, d, numbers, numbers, s, numbers, numbers, numbers, numbers)

    def codegen(context, builder, signature, args):
        D, S = (data_of(context, builder, signature.args[i], args[i]) for i in (1, 4))
        rows, _, d0, d_row, _, s0, s_row, first, last = args
        vectors = Vectors(builder, signature.args[1].dtype)
        count = ir.Constant(I64, vectors.lanes)
        steps = builder.udiv(builder.sub(builder.add(last, count), ir.Constant(I64, 1)), count)
        with cgutils.for_range(builder, steps) as loop:
            q = builder.mul(loop.index, count)
            mask = builder.and_(
                vectors.before(builder.sub(last, q)), builder.not_(vectors.before(builder.sub(first, q)))
            )
            target, source = builder.add(d0, q), builder.add(s0, q)
            with cgutils.for_range(builder, rows) as row:
                cell = builder.add(target, builder.mul(row.index, d_row))
                other = builder.add(source, builder.mul(row.index, s_row))
                total = builder.fadd(vectors.load(D, cell, mask), vectors.load(S, other, mask))
                vectors.store(total, D, cell, mask)
        return context.get_dummy_value()

    return signature, codegen


def transpose_block(builder, vectors, targets, sources, rows, columns):
    """targets[j][i] = sources[i][j] for i < rows and j < columns; as many pointers of each as a vector has lanes."""
    lanes = vectors.lanes
    nothing = ir.Constant(vectors.mask_type, [0] * lanes)

    def masks(there, count):
        # a row that is not there is neither read nor written
        inside = [builder.icmp_unsigned("<", ir.Constant(I64, i), there) for i in range(lanes)]
        return [builder.select(row, vectors.before(count), nothing) for row in inside]

    def some():
        _interleave(builder, vectors, targets, sources, masks(rows, columns), masks(columns, rows))

    if HOST.masked_stores:
        some()
        return
    every = ir.Constant(I64, lanes)
    all_there = builder.and_(builder.icmp_signed("==", rows, every), builder.icmp_signed("==", columns, every))
    with builder.if_else(all_there, likely=True) as (whole, part):
        with whole:
            _interleave(builder, vectors, targets, sources, [None] * lanes, [None] * lanes)
        with part:
            some()


def _interleave(builder, vectors, targets, sources, reading, writing):
    """`transpose_block` of as many rows and columns as a vector has lanes, under masks of each row, or None."""
    lanes, zero = vectors.lanes, ir.Constant(I64, 0)
    low = [lane // 2 + lanes * (lane % 2) for lane in range(lanes)]
    halves = [ir.Constant(ir.VectorType(I32, lanes), [index + shift for index in low]) for shift in (0, lanes // 2)]
    block = [vectors.load(row, zero, mask) for row, mask in zip(sources, reading)]
    # each round interleaves the first half of the vectors with the second: log2(lanes) rounds transpose
    for _ in range(lanes.bit_length() - 1):
        pairs = zip(block[: lanes // 2], block[lanes // 2 :])
        block = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in halves]
    for value, row, mask in zip(block, targets, writing):
        vectors.store(value, row, zero, mask)


@intrinsic
def transpose_tile(typingctx, d, d0, d_row, s, s0, s_row, rows, columns):
    """d[d0 + j*d_row + i] = s[s0 + i*s_row + j] for i < rows and j < columns, each at most a vector's lanes.

    Precondition: flat arrays of one float type; numbers of 64 bits.
    """
    numbers = types.uint64
    signature = types.void(d, numbers, numbers, s, numbers, numbers, numbers, numbers)

    def codegen(context, builder, signature, args):
        D, S = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3))
        _, d0, d_row, _, s0, s_row, rows, columns = args
        vectors = Vectors(builder, signature.args[0].dtype)
        sources, targets = (strided(builder, *place, vectors.lanes) for place in ((S, s0, s_row), (D, d0, d_row)))
        transpose_block(builder, vectors, targets, sources, rows, columns)
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def copy_rows(rows, d, d0, d_row, s, s0, s_row, stride, first, last, n):
    """d[d0 + i*d_row + q] = s[s0 + i*s_row + q*stride] where first <= q < last, otherwise 0, for i < rows and q < n.

    Precondition: flat arrays of one float type; int64; 0 <= first <= last <= n; s0 may be negative, s0 + first may not.
    """
    if ENABLED and stride == 1 and n > 64:
        for i in range(rows):  # long rows one by one, as they lie in memory; short ones in strips of one vector
            copy_tile(1, 1, d, d0 + i * d_row, 0, s, s0 + i * s_row, 0, first, last, n)
    elif ENABLED and stride == 1:
        copy_tile(1, rows, d, d0, d_row, s, s0, s_row, first, last, n)
    elif ENABLED and stride == 2:
        copy_tile(2, rows, d, d0, d_row, s, s0, s_row, first, last, n)
    elif ENABLED and stride == 4:
        copy_tile(4, rows, d, d0, d_row, s, s0, s_row, first, last, n)
    else:
        for i in range(rows):
            target, source = d0 + i * d_row, s0 + i * s_row
            for q in range(first):
                d[target + q] = 0
            for q in range(first, last):
                d[target + q] = s[source + q * stride]
            for q in range(last, n):
                d[target + q] = 0


@linked_helper
def transpose(d, d0, s, s0, rows, columns, d_row, s_row):
    """d[d0 + j*d_row + i] = s[s0 + i*s_row + j] for i < rows and j < columns.

    Precondition: flat arrays of one float type that do not overlap.
    """
    if ENABLED:
        lanes = VECTOR_BYTES // d.itemsize
        for i in range(0, rows, lanes):
            for j in range(0, columns, lanes):
                transpose_tile(
                    d, d0 + j * d_row + i, d_row, s, s0 + i * s_row + j, s_row, min(lanes, rows - i),
                    min(lanes, columns - j),
                )  # fmt: skip
        return
    for i in range(rows):
        for j in range(columns):
            d[d0 + j * d_row + i] = s[s0 + i * s_row + j]
