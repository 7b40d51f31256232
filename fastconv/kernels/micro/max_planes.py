"""The vector tile of max-pooling of planes, with the index of each maximum."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.micro.vectors import Vectors, data_of
from fastconv.kernels.micro.windows import Windows, better


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
        Y, I, X = (data_of(context, builder, kinds[i], args[i]) for i in (1, 3, 6))  # noqa: E741
        _, _, y0, _, keep, cell0 = args[:6]
        gap = kinds[0].literal_value
        windows = Windows(builder, kinds[1].dtype, gap, X, args[7:])
        vectors = windows.vectors
        whole = ir.VectorType(ir.IntType(vectors.bits), vectors.lanes)
        ramp = ir.Constant(whole, list(range(0, windows.wide.lanes, gap)))
        none, no_winner = (ir.Constant(whole, [value] * vectors.lanes) for value in (0, -1))
        best, winner = cgutils.alloca_once(builder, vectors.type), cgutils.alloca_once(builder, whole)

        def tap(value, inside, cell):
            first = builder.add(cell0, cell)
            first = first if vectors.bits == 64 else builder.trunc(first, whole.element)
            index = builder.add(vectors.broadcast(first, whole), ramp)
            old, found = builder.load(best), builder.load(winner)
            # or the first of all
            wins = builder.and_(inside, builder.or_(better(builder, value, old), builder.icmp_signed("<", found, none)))
            builder.store(builder.select(wins, value, old), best)
            builder.store(builder.select(wins, index, found), winner)

        def result(q, cells):
            builder.store(vectors.zero, best)
            builder.store(no_winner, winner)
            windows.taps(q, cells, tap)
            target = builder.add(y0, q)
            vectors.store(builder.load(best), Y, target, cells)
            with builder.if_then(keep):
                many = Vectors(builder, types.int64, vectors.lanes)
                found = builder.load(winner)
                many.store(found if vectors.bits == 64 else builder.sext(found, many.type), I, target, cells)

        windows.results(result)
        return context.get_dummy_value()

    return signature, codegen
