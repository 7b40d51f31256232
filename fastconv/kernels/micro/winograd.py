"""The transforms of Winograd's F(2x2, 3x3), a vector of tiles or of channels at once.

With B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1] and A^T = [1 1 1 0; 0 1 -1 -1] a tile of 4 x 4 pixels d becomes
B^T d B, and a tile of products m becomes 2 x 2 results A^T m A: additions alone.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.micro.vectors import I32, I64, Vectors, data_of


def square(vectors, size, base, start, step, mask=None):
    """Size x size vectors, row after row, `step` cells apart."""
    cells = [start]
    for _ in range(size * size - 1):
        cells.append(vectors.builder.add(cells[-1], step))
    loaded = [vectors.load(base, cell, mask) for cell in cells]
    return [loaded[size * i : size * (i + 1)] for i in range(size)]


def input_rows(builder, a, b, c, d):
    """B^T (a, b, c, d)."""
    return builder.fsub(a, c), builder.fadd(b, c), builder.fsub(c, b), builder.fsub(b, d)


def no_nan(builder, vectors, check):
    """Whether no lane of a vector in memory is NaN."""
    ordered = builder.fcmp_ordered("ord", builder.load(check), vectors.zero)
    bits = builder.bitcast(ordered, ir.IntType(vectors.lanes))
    return builder.icmp_signed("==", bits, ir.Constant(bits.type, -1))


def output_transform(builder, m):
    """A^T m A of 4 x 4 vectors."""

    def two(a, b, c, e):
        return builder.fadd(builder.fadd(a, b), c), builder.fsub(builder.fsub(b, c), e)

    columns = [two(*(m[i][j] for i in range(4))) for j in range(4)]
    return [two(*(columns[j][i] for j in range(4))) for i in range(2)]


def _weight_transform(builder, vectors, g):
    """G g G^T of 3 x 3 vectors; the halves are taken before they are added, which the largest numbers bear."""
    half = ir.Constant(vectors.type, [0.5] * vectors.lanes)

    def four(a, b, c):
        outer = builder.fadd(builder.fmul(a, half), builder.fmul(c, half))
        inner = builder.fmul(b, half)
        return a, builder.fadd(outer, inner), builder.fsub(outer, inner), c

    columns = [four(*(g[i][j] for i in range(3))) for j in range(3)]
    return [four(*(columns[j][i] for j in range(3))) for i in range(4)]


@intrinsic
def weight_tiles(typingctx, u, u0, u_step, taps, t0, tap, n):
    """u[u0 + (4*a + b)*u_step + c] = (G g G^T)[a, b] of kernel c < n, with g[i, j] = taps[t0 + (3*i + j)*tap + c].

    Precondition: flat arrays of one float type; numbers of 64 bits; n at least 1.
    """
    number = types.int64
    signature = types.void(u, number, number, taps, number, number, number)

    def codegen(context, builder, signature, args):
        U, T = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3))
        _, u0, u_step, _, t0, tap, n = args
        vectors = Vectors(builder, signature.args[0].dtype)
        lanes = ir.Constant(I64, vectors.lanes)

        def block(c, mask):
            target, g = builder.add(u0, c), square(vectors, 3, T, builder.add(t0, c), tap, mask)
            for rows in _weight_transform(builder, vectors, g):
                for value in rows:
                    vectors.store(value, U, target, mask)
                    target = builder.add(target, u_step)

        whole = builder.udiv(n, lanes)
        with cgutils.for_range(builder, whole) as loop:
            vectors.keep_loop()
            block(builder.mul(loop.index, lanes), None)
        done = builder.mul(whole, lanes)
        with builder.if_then(builder.icmp_signed("<", done, n)):
            block(done, vectors.before(builder.sub(n, done)))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def input_tiles(typingctx, v, v0, v_step, x, x0, H, W, iy, ix, n):
    """v[v0 + (4*a + b)*v_step + t] = (B^T d B)[a, b] of tile t, for t < n and up to a vector further.

    d[i, j] = x[x0 + (iy + i)*W + ix + 2*t + j] on a plane of H x W pixels, 0 outside.

    Precondition: flat arrays of one float type; numbers of 64 bits; what a vector further holds may be written.
    """
    number = types.int64
    signature = types.void(v, number, number, x, *[number] * 6)

    def codegen(context, builder, signature, args):
        V, X = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3))
        _, v0, v_step, _, x0, H, W, iy, ix, n = args
        vectors = Vectors(builder, signature.args[0].dtype)
        wide = Vectors(builder, signature.args[0].dtype, 2 * vectors.lanes)
        lanes, one, two, zero = (ir.Constant(I64, count) for count in (vectors.lanes, 1, 2, 0))
        halves = [ir.Constant(ir.VectorType(I32, vectors.lanes), list(range(j, wide.lanes, 2))) for j in (0, 1)]
        lines = [builder.add(iy, ir.Constant(I64, i)) for i in range(4)]
        starts = [builder.add(x0, builder.mul(line, W)) for line in lines]
        # a row outside the plane has no pixels
        there = [builder.icmp_unsigned("<", line, H) for line in lines]
        all_rows = builder.and_(there[0], there[3])
        steps = builder.udiv(builder.sub(builder.add(n, lanes), one), lanes)

        def transform(target, column, masks):
            d = []
            for i in range(4):
                pairs = []
                for shift, mask in zip((zero, two), masks[i]):
                    cell = builder.add(starts[i], builder.add(column, shift))
                    pairs.append(wide.load(X, cell, mask))
                d.append(pairs)
            # down the columns before even and odd ones are told apart: half as many shuffles
            down = [input_rows(builder, *(d[i][pair] for i in range(4))) for pair in (0, 1)]
            for a in range(4):
                row = [builder.shuffle_vector(down[pair][a], down[pair][a], half) for pair in (0, 1) for half in halves]
                for value in input_rows(builder, *row):
                    vectors.store(value, V, target)
                    target = builder.add(target, v_step)

        with cgutils.for_range(builder, steps) as loop:
            vectors.keep_loop()
            q = builder.mul(loop.index, lanes)
            target, column = builder.add(v0, q), builder.add(ix, builder.mul(q, two))
            end = builder.add(column, ir.Constant(I64, wide.lanes + 2))
            inside = builder.and_(builder.icmp_signed(">=", column, zero), builder.icmp_signed("<=", end, W))
            with builder.if_else(builder.and_(inside, all_rows), likely=True) as (whole, border):
                with whole:
                    transform(target, column, [(None, None)] * 4)
                with border:
                    columns = []
                    for shift in (zero, two):
                        first = builder.add(column, shift)
                        before = wide.before(builder.sub(zero, first))
                        columns.append(builder.and_(wide.before(builder.sub(W, first)), builder.not_(before)))
                    nothing = ir.Constant(wide.mask_type, [0] * wide.lanes)
                    masks = [[builder.select(row, mask, nothing) for mask in columns] for row in there]
                    transform(target, column, masks)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def output_tiles(typingctx, y, y0, y_row, rows, pixels, m, m0, m_step, bias, lowest):
    """y[y0 + i*y_row + q] = bias + (A^T m A)[i, q%2] of tile q//2, clamped, for i < rows and q < pixels.

    m[a, b] of tile t is m[m0 + (4*a + b)*m_step + t]. True unless a result is NaN or infinite before it is clamped.

    Precondition: flat arrays of one float type, as bias and lowest; numbers of 64 bits; rows 1 or 2; what lies up to a
    vector behind the last tile in m may be read.
    """
    number = types.int64
    signature = types.boolean(y, number, number, number, number, m, number, number, y.dtype, y.dtype)

    def codegen(context, builder, signature, args):
        Y, M = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 5))
        _, y0, y_row, rows, pixels, _, m0, m_step, bias, lowest = args
        vectors = Vectors(builder, signature.args[0].dtype)
        wide = Vectors(builder, signature.args[0].dtype, 2 * vectors.lanes)
        lanes, one, two = (ir.Constant(I64, count) for count in (vectors.lanes, 1, 2))
        mixed = ir.Constant(ir.VectorType(I32, wide.lanes), [q // 2 + q % 2 * vectors.lanes for q in range(wide.lanes)])
        check = cgutils.alloca_once_value(builder, wide.zero)
        start, least = wide.broadcast(bias), wide.broadcast(lowest)
        both = builder.icmp_signed(">", rows, one)
        tiles = builder.udiv(builder.add(pixels, one), two)
        steps = builder.udiv(builder.sub(builder.add(tiles, lanes), one), lanes)
        with cgutils.for_range(builder, steps) as loop:
            vectors.keep_loop()
            t = builder.mul(loop.index, lanes)
            products = square(vectors, 4, M, builder.add(m0, t), m_step)
            q = builder.mul(t, two)
            left, target = builder.sub(pixels, q), builder.add(y0, q)
            values = [
                builder.fadd(builder.shuffle_vector(even, odd, mixed), start)
                for even, odd in output_transform(builder, products)
            ]

            def put(mask, values=values, target=target):
                def row(value, place):
                    # NaN from what is not finite
                    found = builder.fsub(value, value)
                    found = found if mask is None else builder.select(mask, found, wide.zero)
                    builder.store(builder.fadd(builder.load(check), found), check)
                    value = builder.select(builder.fcmp_ordered("<=", value, least), least, value)
                    wide.store(value, Y, place, mask)

                row(values[0], target)
                with builder.if_then(both):
                    row(values[1], builder.add(target, y_row))

            whole = builder.icmp_signed(">=", left, ir.Constant(I64, wide.lanes))
            with builder.if_else(whole, likely=True) as (full, part):
                with full:
                    put(None)
                with part:
                    put(wide.before(left))
        return no_nan(builder, wide, check)

    return signature, codegen
