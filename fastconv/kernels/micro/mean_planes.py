"""The vector tile of average pooling of planes."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.vectors import I64, Vectors, data_of
from fastconv.kernels.micro.windows import Windows


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
        Y, columns, X = (data_of(context, builder, kinds[i], args[i]) for i in (1, 4, 5))
        y0, row = args[2:4]
        x0, W, ky_count, row_step, kx_count, left, n = args[6:]
        numbers = x0, W, ky_count, row_step, kx_count, ir.Constant(I64, 1), left, n
        windows = Windows(builder, kinds[1].dtype, kinds[0].literal_value, X, numbers)
        vectors = windows.vectors
        many = Vectors(builder, types.int64, vectors.lanes)
        wide = ir.VectorType(ir.DoubleType(), vectors.lanes)
        total, sums = cgutils.alloca_once(builder, vectors.type), cgutils.alloca_once(builder, wide)
        taps = builder.mul(ky_count, kx_count)
        many_taps = builder.icmp_signed(">", taps, ir.Constant(I64, CHAIN))

        def tap(value, inside, cell):
            builder.store(builder.fadd(builder.load(total), value), total)

        def row_end():
            # the sums of many rows in double precision: there may be millions of pixels, of one sign
            with builder.if_then(many_taps):
                row = builder.load(total)
                row = row if vectors.bits == 64 else builder.fpext(row, wide)
                builder.store(builder.fadd(builder.load(sums), row), sums)
                builder.store(vectors.zero, total)

        def result(q, cells):
            builder.store(vectors.zero, total)
            builder.store(ir.Constant(wide, [0.0] * vectors.lanes), sums)
            windows.taps(q, cells, tap, row_end)
            with builder.if_then(many_taps):
                all_rows = builder.load(sums)
                builder.store(all_rows if vectors.bits == 64 else builder.fptrunc(all_rows, vectors.type), total)
            # the product is taken in integers, so that it is rounded once; lanes that are not there are divided by 0
            divisor = builder.mul(many.load(columns, q, cells), many.broadcast(row))
            mean = builder.fdiv(builder.load(total), builder.sitofp(divisor, vectors.type))
            vectors.store(mean, Y, builder.add(y0, q), cells)

        windows.results(result)
        return context.get_dummy_value()

    return signature, codegen
