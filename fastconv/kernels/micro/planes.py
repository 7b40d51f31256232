"""Convolution of one channel's image with one kernel, read as it is: what depthwise convolution in NCHW order is."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.jit import linked_helper
from fastconv.kernels.micro.vectors import I32, I64, Vectors, data_of

TAPS = 3  # of a kernel, in a row and in a column
ROWS = 4  # of results, which share the rows of the image that they read


@intrinsic(prefer_literal=True)
def plane_tiles(typingctx, stride, y, y0, OH, OW, x, x0, H, W, top, left, w, w0, terms, nothing, bias, lowest):
    """y(oy, ox) = bias + sum over ky, kx < TAPS of w[w0 + terms[ky*TAPS + kx]] * x(oy*stride + ky - top, ...), clamped.

    For oy < OH and ox < OW; from y0 and x0 on. What lies outside of the image is zero.

    Precondition: `stride` a literal; y, x, w and `nothing`, W zeros, flat arrays of one float type; bias and lowest
    numbers of it; terms uint64; the other numbers int64.
    """
    if not isinstance(stride, types.IntegerLiteral):
        return None
    s, number = stride.literal_value, types.int64
    signature = types.void(
        stride, y, number, number, number, x, number, number, number, number, number, w, number, terms, nothing, bias,
        lowest,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        Y, X, weights, places, zeros = (data_of(context, builder, kinds[i], args[i]) for i in (1, 5, 11, 13, 14))
        y0, OH, OW, x0, H, W, top, left, w0 = (args[i] for i in (2, 3, 4, 6, 7, 8, 9, 10, 12))
        vectors = Vectors(builder, kinds[1].dtype)
        wide = Vectors(builder, kinds[1].dtype, vectors.lanes * s)
        picked = ir.Constant(ir.VectorType(I32, vectors.lanes), list(range(0, wide.lanes, s)))
        start, floor = vectors.broadcast(args[15]), vectors.broadcast(args[16])
        none, lanes = ir.Constant(I64, 0), ir.Constant(I64, vectors.lanes)

        def place(k):
            return builder.add(w0, builder.load(builder.gep(places, [ir.Constant(I64, k)])))

        kernel = [vectors.broadcast(builder.load(builder.gep(weights, [place(k)]))) for k in range(TAPS * TAPS)]

        def tile(rows, oy, ox, masks, cells):
            """Some rows of a vector's results; the image's cells under masks of each column of the kernel, or None."""
            first = builder.sub(builder.mul(oy, ir.Constant(I64, s)), top)
            column = builder.sub(builder.mul(ox, ir.Constant(I64, s)), left)
            sums = [cgutils.alloca_once(builder, vectors.type) for _ in range(rows)]
            for slot in sums:
                builder.store(start, slot)
            for i in range((rows - 1) * s + TAPS):
                row = builder.add(first, ir.Constant(I64, i))
                inside = builder.icmp_unsigned("<", row, H)
                there = builder.gep(X, [builder.add(x0, builder.mul(row, W))])
                source = builder.select(inside, there, zeros)
                for kx in range(TAPS):
                    at = builder.add(column, ir.Constant(I64, kx))
                    values = wide.load(source, at, masks[kx])
                    values = builder.shuffle_vector(values, values, picked) if s > 1 else values
                    for r, slot in enumerate(sums):
                        if 0 <= i - r * s < TAPS:
                            vectors.multiply_add(kernel[(i - r * s) * TAPS + kx], values, slot)
            target = builder.add(y0, builder.add(builder.mul(oy, OW), ox))
            for slot in sums:
                total = builder.load(slot)
                low = builder.fcmp_ordered("<=", total, floor)
                vectors.store(builder.select(low, floor, total), Y, target, cells)
                target = builder.add(target, OW)

        def columns(ox, masks, cells):
            """All rows of a vector's results: tiles, the last of which may share rows with the one before."""
            most = ir.Constant(I64, ROWS)
            few = builder.icmp_signed("<", OH, most)
            with builder.if_else(few) as (one_by_one, several):
                with one_by_one:
                    with cgutils.for_range(builder, OH) as loop:
                        tile(1, loop.index, ox, masks, cells)
                with several:
                    count = builder.sdiv(builder.add(OH, ir.Constant(I64, ROWS - 1)), most)
                    last = builder.sub(OH, most)
                    with cgutils.for_range(builder, count) as loop:
                        oy = builder.mul(loop.index, most)
                        oy = builder.select(builder.icmp_signed("<", oy, last), oy, last)
                        tile(ROWS, oy, ox, masks, cells)

        narrow = builder.icmp_signed("<", OW, lanes)
        count = builder.sdiv(builder.add(OW, ir.Constant(I64, vectors.lanes - 1)), lanes)
        final = builder.select(narrow, none, builder.sub(OW, lanes))
        with cgutils.for_range(builder, count) as loop:
            ox = builder.mul(loop.index, lanes)
            ox = builder.select(builder.icmp_signed("<", ox, final), ox, final)
            column = builder.sub(builder.mul(ox, ir.Constant(I64, s)), left)
            end = builder.add(column, ir.Constant(I64, TAPS - 1 + wide.lanes))
            within = builder.and_(builder.icmp_signed(">=", column, none), builder.icmp_signed("<=", end, W))
            whole = builder.and_(within, builder.not_(narrow))
            with builder.if_else(whole) as (inner, border):
                with inner:
                    columns(ox, [None] * TAPS, None)
                with border:
                    masks = []
                    for kx in range(TAPS):
                        at = builder.add(column, ir.Constant(I64, kx))
                        outside = wide.before(builder.sub(none, at))
                        masks.append(builder.and_(wide.before(builder.sub(W, at)), builder.not_(outside)))
                    columns(ox, masks, vectors.before(builder.sub(OW, ox)))
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def convolve_plane(y, y0, OH, OW, x, x0, H, W, top, left, stride, w, w0, terms, nothing, bias, lowest):
    """As `plane_tiles`, with a stride of 1 or 2."""
    if stride == 1:
        plane_tiles(1, y, y0, OH, OW, x, x0, H, W, top, left, w, w0, terms, nothing, bias, lowest)
    else:
        plane_tiles(2, y, y0, OH, OW, x, x0, H, W, top, left, w, w0, terms, nothing, bias, lowest)
