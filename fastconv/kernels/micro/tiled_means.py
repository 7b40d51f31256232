"""Average pooling whose windows lie side by side, two pixels wide, and its gradient: rows of results, plane by plane.

Such a pixel is in one window at most, and all windows are divided by the same number.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.micro.vectors import I32, I64, Vectors, data_of

WIDTH = 2  # pixels of a window's row


class _Tiles:
    """Emits the loops over rows of results and vectors of them, each with its pixels, of two lanes for one result."""

    def __init__(self, builder, element, n):
        self.builder, self.element, self.n = builder, element, n
        self._most = Vectors(builder, element).lanes

    def run(self, rows, row):
        """Run row(vectors, pixels, r, q, results, there) for each vector of each row r, from result q on.

        With the masks of the results and of the pixels that there are. Of short rows in half a vector, whose division
        takes half the time.
        """
        builder, half = self.builder, self._most // 2
        short = builder.icmp_signed("<=", self.n, ir.Constant(I64, half))
        with builder.if_else(short) as (few, many):
            for lanes, branch in ((half, few), (self._most, many)):
                with branch:
                    self._rows(lanes, rows, row)

    def _rows(self, lanes, rows, row):
        builder, one = self.builder, ir.Constant(I64, 1)
        vectors, pixels = Vectors(builder, self.element, lanes), Vectors(builder, self.element, lanes * WIDTH)
        steps = builder.udiv(builder.sub(builder.add(self.n, ir.Constant(I64, lanes)), one), ir.Constant(I64, lanes))
        with cgutils.for_range(builder, steps) as step:
            q = builder.mul(step.index, ir.Constant(I64, lanes))
            left = builder.sub(self.n, q)
            results, there = vectors.before(left), pixels.before(left, WIDTH)
            with cgutils.for_range(builder, rows) as loop:
                row(vectors, pixels, loop.index, q, results, there)


def _place(builder, start, r, pitch, q, width=1):
    """The start of a row, and of what lies in it from result q on."""
    return builder.add(builder.add(start, builder.mul(r, pitch)), builder.mul(q, ir.Constant(I64, width)))


@intrinsic
def mean_rows(typingctx, y, y0, x, x0, W, ky_count, divisor, rows, n):
    """y[y0 + r*n + q] = the sum over ky < ky_count of the pixels 2*q and 2*q + 1 of its row of x, divided by `divisor`.

    That row is x[x0 + (r*ky_count + ky)*W:], r < rows, q < n; the pixels are added one after another.

    Precondition: flat arrays of one float type; the numbers int64, n at least 1.
    """
    numbers = types.int64
    signature = types.void(y, numbers, x, *[numbers] * 6)

    def codegen(context, builder, signature, args):
        Y, X = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2))
        y0, _, x0, W, ky_count, divisor, rows, n = args[1:]

        def row(vectors, pixels, r, q, results, there):
            total = cgutils.alloca_once(builder, vectors.type)
            builder.store(vectors.zero, total)
            source = _place(builder, x0, builder.mul(r, ky_count), W, q, WIDTH)
            with cgutils.for_range(builder, ky_count) as ky:
                values = pixels.load(X, builder.add(source, builder.mul(ky.index, W)), there)
                for kx in range(WIDTH):
                    lanes = ir.Constant(ir.VectorType(I32, vectors.lanes), list(range(kx, pixels.lanes, WIDTH)))
                    tap = builder.shuffle_vector(values, values, lanes)
                    builder.store(builder.fadd(builder.load(total), tap), total)
            mean = builder.fdiv(builder.load(total), vectors.broadcast(builder.sitofp(divisor, vectors.scalar)))
            vectors.store(mean, Y, _place(builder, y0, r, n, q), results)

        _Tiles(builder, signature.args[0].dtype, n).run(rows, row)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def share_rows(typingctx, x, x0, W, ky_count, divisor, g, g0, rows, n):
    """The gradient of `mean_rows`: x[x0 + (r*ky_count + ky)*W + 2*q + kx] = g[g0 + r*n + q] / divisor for kx < 2.

    Precondition: as there.
    """
    numbers = types.int64
    signature = types.void(x, *[numbers] * 4, g, *[numbers] * 3)

    def codegen(context, builder, signature, args):
        X, G = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 5))
        x0, W, ky_count, divisor, _, g0, rows, n = args[1:]

        def row(vectors, pixels, r, q, results, there):
            g = vectors.load(G, _place(builder, g0, r, n, q), results)
            share = builder.fdiv(g, vectors.broadcast(builder.sitofp(divisor, vectors.scalar)))
            lanes = ir.Constant(ir.VectorType(I32, pixels.lanes), [lane // WIDTH for lane in range(pixels.lanes)])
            shares = builder.shuffle_vector(share, share, lanes)
            target = _place(builder, x0, builder.mul(r, ky_count), W, q, WIDTH)
            with cgutils.for_range(builder, ky_count) as ky:
                pixels.store(shares, X, builder.add(target, builder.mul(ky.index, W)), there)

        _Tiles(builder, signature.args[0].dtype, n).run(rows, row)
        return context.get_dummy_value()

    return signature, codegen
