"""Winograd's transforms of images with channels last: a tile at a time, in vectors of its channels."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.micro.vectors import I64, Vectors, data_of
from fastconv.kernels.micro.winograd import input_rows, no_nan, output_transform, square


@intrinsic
def input_tile_last(typingctx, v, v0, v_step, x, x0, H, W, pixel, iy, ix, n):
    """v[v0 + (4*a + b)*v_step + c] = (B^T d B)[a, b] of channel c, for c < n and up to a vector further.

    d[i, j] = x[x0 + ((iy + i)*W + ix + j)*pixel + c] on a plane of H x W pixels, 0 outside.

    Precondition: flat arrays of one float type; numbers of 64 bits; what a vector further holds may be written.
    """
    number = types.int64
    signature = types.void(v, number, number, x, *[number] * 7)

    def codegen(context, builder, signature, args):
        V, X = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3))
        _, v0, v_step, _, x0, H, W, pixel, iy, ix, n = args
        vectors = Vectors(builder, signature.args[0].dtype)
        lanes = ir.Constant(I64, vectors.lanes)
        rows, columns = ([builder.add(first, ir.Constant(I64, i)) for i in range(4)] for first in (iy, ix))
        in_rows = [builder.icmp_unsigned("<", row, H) for row in rows]
        in_columns = [builder.icmp_unsigned("<", column, W) for column in columns]
        inside = builder.and_(builder.and_(in_rows[0], in_rows[3]), builder.and_(in_columns[0], in_columns[3]))
        starts = [
            [builder.add(x0, builder.mul(builder.add(builder.mul(row, W), column), pixel)) for column in columns]
            for row in rows
        ]
        every, nothing = (ir.Constant(vectors.mask_type, [bit] * vectors.lanes) for bit in (1, 0))

        def transform(c, masks):
            d = [[vectors.load(X, builder.add(starts[i][j], c), masks[i][j]) for j in range(4)] for i in range(4)]
            down = [input_rows(builder, *(d[i][j] for i in range(4))) for j in range(4)]
            target = builder.add(v0, c)
            for a in range(4):
                for value in input_rows(builder, *(down[j][a] for j in range(4))):
                    vectors.store(value, V, target)
                    target = builder.add(target, v_step)

        def border(c, cells):
            there = [[builder.and_(row, column) for column in in_columns] for row in in_rows]
            transform(c, [[builder.select(flag, cells, nothing) for flag in flags] for flags in there])

        whole = builder.mul(builder.udiv(n, lanes), lanes)
        with builder.if_else(inside, likely=True) as (interior, edge):
            with interior, cgutils.for_range(builder, builder.udiv(n, lanes)) as loop:
                vectors.keep_loop()
                transform(builder.mul(loop.index, lanes), [[None] * 4] * 4)
            with edge, cgutils.for_range(builder, builder.udiv(n, lanes)) as loop:
                vectors.keep_loop()
                border(builder.mul(loop.index, lanes), every)
        with builder.if_then(builder.icmp_signed("<", whole, n)):
            border(whole, vectors.before(builder.sub(n, whole)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def output_tile_last(typingctx, y, y0, y_row, pixel, rows, columns, m, m0, m_step, bias, lowest, n):
    """y[y0 + i*y_row + j*pixel + c] = bias[c] + (A^T m A)[i, j] of channel c < n, clamped, for i < rows, j < columns.

    m[a, b] of channel c is m[m0 + (4*a + b)*m_step + c]. True unless a result is NaN or infinite before it is clamped.

    Precondition: flat arrays of one float type, as lowest; numbers of 64 bits; rows and columns 1 or 2; what lies up to
    a vector behind the last channel in m may be read.
    """
    number = types.int64
    signature = types.boolean(y, *[number] * 5, m, number, number, bias, y.dtype, number)

    def codegen(context, builder, signature, args):
        Y, M, B = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 6, 9))
        _, y0, y_row, pixel, rows, columns, _, m0, m_step, _, lowest, n = args
        vectors = Vectors(builder, signature.args[0].dtype)
        lanes, one = ir.Constant(I64, vectors.lanes), ir.Constant(I64, 1)
        check, least = cgutils.alloca_once_value(builder, vectors.zero), vectors.broadcast(lowest)
        row_there, column_there = (builder.icmp_signed(">", count, one) for count in (rows, columns))
        steps = builder.udiv(builder.sub(builder.add(n, lanes), one), lanes)
        with cgutils.for_range(builder, steps) as loop:
            vectors.keep_loop()
            c = builder.mul(loop.index, lanes)
            mask = vectors.before(builder.sub(n, c))
            products = square(vectors, 4, M, builder.add(m0, c), m_step)
            start, target = vectors.load(B, c, mask), builder.add(y0, c)

            def put(value, place, start=start, mask=mask):
                value = builder.fadd(value, start)
                # NaN from what is not finite
                found = builder.select(mask, builder.fsub(value, value), vectors.zero)
                builder.store(builder.fadd(builder.load(check), found), check)
                vectors.store(builder.select(builder.fcmp_ordered("<=", value, least), least, value), Y, place, mask)

            def put_row(values, place, put=put):
                put(values[0], place)
                with builder.if_then(column_there):
                    put(values[1], builder.add(place, pixel))

            first, second = output_transform(builder, products)
            put_row(first, target)
            with builder.if_then(row_there):
                put_row(second, builder.add(target, y_row))
        return no_nan(builder, vectors, check)

    return signature, codegen
