"""Convolution of one channel's image with one kernel, read as it is, and the gradient of that kernel.

What depthwise convolution in NCHW order is made of. Vectors hold pixels of a row; neighbouring rows of results share
the rows of the image that they read.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.jit import linked_helper
from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.vectors import I32, I64, Vectors, data_of

TAPS = 3  # of a kernel, in a row and in a column
ROWS = 4  # of results at a time


def _number(value):
    return ir.Constant(I64, value)


class _Image(NamedTuple):
    """An image (H, W) as a tile reads it: `lanes` results of a row, whose windows begin `stride` cells apart.

    Attributes:
        builder: of the code.
        vectors: of results.
        stride: between windows, in rows and columns.
        start: where it begins.
        zeros: a row of zeros, for those above and below it.
        H: rows.
        W: columns.
    """

    builder: ir.IRBuilder
    vectors: Vectors
    stride: int
    start: ir.Value
    zeros: ir.Value
    H: ir.Value
    W: ir.Value

    @property
    def wide(self):
        """Vectors of all cells from a result's to the last one's."""
        return Vectors(self.builder, self.vectors.element, self.vectors.lanes * self.stride)

    def row(self, iy):
        """Where row iy begins, zeros where it is above or below."""
        there = self.builder.gep(self.start, [self.builder.mul(iy, self.W)])
        return self.builder.select(self.builder.icmp_unsigned("<", iy, self.H), there, self.zeros)

    def load(self, row, column, mask):
        """The cells of a row that the results' windows have at one of the kernel's columns."""
        values = self.wide.load(row, column, mask)
        if self.stride == 1:
            return values
        picked = list(range(0, self.wide.lanes, self.stride))
        return self.builder.shuffle_vector(values, values, ir.Constant(ir.VectorType(I32, len(picked)), picked))

    def masks(self, column, results=None):
        """Of the cells inside of the image, for each column of the kernel; of the first `results` windows alone."""
        builder, wide, found = self.builder, self.wide, []
        for kx in range(TAPS):
            at = builder.add(column, _number(kx))
            mask = builder.and_(
                wide.before(builder.sub(self.W, at)), builder.not_(wide.before(builder.sub(_number(0), at)))
            )
            if results is not None:
                mask = builder.and_(mask, wide.before(builder.mul(results, _number(self.stride))))
            found.append(mask)
        return found

    def holds(self, column):
        """Whether all cells that a vector of windows reads in a row from `column` on are inside."""
        end = self.builder.add(column, _number(TAPS - 1 + self.wide.lanes))
        inside = self.builder.icmp_signed(">=", column, _number(0))
        return self.builder.and_(inside, self.builder.icmp_signed("<=", end, self.W))


def _ceil_div(builder, n, by):
    return builder.sdiv(builder.add(n, _number(by - 1)), _number(by))


def _at_most(builder, index, size, n):
    """Where part `index` of `size` begins, or the last one that ends within n."""
    begin, last = builder.mul(index, _number(size)), builder.sub(n, _number(size))
    return builder.select(builder.icmp_signed("<", begin, last), begin, last)


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
        image = _Image(builder, vectors, s, builder.gep(X, [x0]), zeros, H, W)
        start, floor = vectors.broadcast(args[15]), vectors.broadcast(args[16])
        lanes, most = _number(vectors.lanes), _number(ROWS)

        def weight(k):
            place = builder.add(w0, builder.load(builder.gep(places, [_number(k)])))
            return vectors.broadcast(builder.load(builder.gep(weights, [place])))

        kernel = [weight(k) for k in range(TAPS * TAPS)]

        def tile(rows, oy, ox, column, masks, cells):
            """Some rows of a vector of results; the image's cells under masks for each column of the kernel."""
            first = builder.sub(builder.mul(oy, _number(s)), top)
            sums = [cgutils.alloca_once(builder, vectors.type) for _ in range(rows)]
            for slot in sums:
                builder.store(start, slot)
            for i in range((rows - 1) * s + TAPS):
                source = image.row(builder.add(first, _number(i)))
                for kx in range(TAPS):
                    values = image.load(source, builder.add(column, _number(kx)), masks[kx])
                    for r, slot in enumerate(sums):
                        if 0 <= i - r * s < TAPS:
                            vectors.multiply_add(kernel[(i - r * s) * TAPS + kx], values, slot)
            target = builder.add(y0, builder.add(builder.mul(oy, OW), ox))
            for slot in sums:
                total = builder.load(slot)
                low = builder.fcmp_ordered("<=", total, floor)
                vectors.store(builder.select(low, floor, total), Y, target, cells)
                target = builder.add(target, OW)

        def tiles(ox, column, masks, cells):
            """All rows: tiles, the last of which may share rows with the one before, or one by one."""
            with builder.if_else(builder.icmp_signed("<", OH, most)) as (few, many):
                with few, cgutils.for_range(builder, OH) as loop:
                    tile(1, loop.index, ox, column, masks, cells)
                with many, cgutils.for_range(builder, _ceil_div(builder, OH, ROWS)) as loop:
                    tile(ROWS, _at_most(builder, loop.index, ROWS, OH), ox, column, masks, cells)

        narrow = builder.icmp_signed("<", OW, lanes)
        with cgutils.for_range(builder, _ceil_div(builder, OW, vectors.lanes)) as loop:
            # the last vector ends with the row: lanes that two share have the same sums in both
            ox = builder.select(narrow, _number(0), _at_most(builder, loop.index, vectors.lanes, OW))
            column = builder.sub(builder.mul(ox, _number(s)), left)
            whole = builder.and_(image.holds(column), builder.not_(narrow))
            with builder.if_else(whole) as (inside, across):
                with inside:
                    tiles(ox, column, [None] * TAPS, None)
                with across:
                    tiles(ox, column, image.masks(column), vectors.before(builder.sub(OW, ox)))
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def convolve_plane(y, y0, OH, OW, x, x0, H, W, top, left, stride, w, w0, terms, nothing, bias, lowest):
    """As `plane_tiles`, with a stride of 1 or 2."""
    if stride == 1:
        plane_tiles(1, y, y0, OH, OW, x, x0, H, W, top, left, w, w0, terms, nothing, bias, lowest)
    else:
        plane_tiles(2, y, y0, OH, OW, x, x0, H, W, top, left, w, w0, terms, nothing, bias, lowest)


@intrinsic(prefer_literal=True)
def plane_products(typingctx, stride, totals, g, g0, OW, rows, x, x0, H, W, top, left, nothing):
    """totals[ky*TAPS + kx] += sum of g(oy, ox) * x(oy*stride + ky - top, ox*stride + kx - left), lane by lane.

    For oy < rows, at most CHAIN, and ox < OW; from g0 and x0 on. What lies outside of the image is zero.

    Precondition: as for `plane_tiles`; totals has a vector for each tap.
    """
    if not isinstance(stride, types.IntegerLiteral):
        return None
    s, number = stride.literal_value, types.int64
    signature = types.void(
        stride, totals, g, number, number, number, x, number, number, number, number, number, nothing
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        T, G, X, zeros = (data_of(context, builder, kinds[i], args[i]) for i in (1, 2, 6, 12))
        g0, OW, rows, x0, H, W, top, left = (args[i] for i in (3, 4, 5, 7, 8, 9, 10, 11))
        vectors = Vectors(builder, kinds[1].dtype)
        image = _Image(builder, vectors, s, builder.gep(X, [x0]), zeros, H, W)
        lanes = _number(vectors.lanes)
        sums = [cgutils.alloca_once(builder, vectors.type) for _ in range(TAPS * TAPS)]

        def tile(count, oy, ox, column, masks, cells):
            """The products of some rows of a vector of g."""
            first = builder.sub(builder.mul(oy, _number(s)), top)
            target, gradients = builder.add(g0, builder.add(builder.mul(oy, OW), ox)), []
            for _ in range(count):
                gradients.append(vectors.load(G, target, cells))
                target = builder.add(target, OW)
            for i in range((count - 1) * s + TAPS):
                source = image.row(builder.add(first, _number(i)))
                for kx in range(TAPS):
                    values = image.load(source, builder.add(column, _number(kx)), masks[kx])
                    for r, gradient in enumerate(gradients):
                        if 0 <= i - r * s < TAPS:
                            vectors.multiply_add(gradient, values, sums[(i - r * s) * TAPS + kx])

        def tiles(ox, column, masks, cells):
            for slot in sums:
                builder.store(vectors.zero, slot)
            whole = builder.sdiv(rows, _number(ROWS))
            with cgutils.for_range(builder, whole) as loop:
                tile(ROWS, builder.mul(loop.index, _number(ROWS)), ox, column, masks, cells)
            with cgutils.for_range(builder, rows, start=builder.mul(whole, _number(ROWS))) as loop:
                tile(1, loop.index, ox, column, masks, cells)
            for k, slot in enumerate(sums):
                at = _number(k * vectors.lanes)
                vectors.store(builder.fadd(vectors.load(T, at), builder.load(slot)), T, at)

        with cgutils.for_range(builder, _ceil_div(builder, OW, vectors.lanes)) as loop:
            ox = builder.mul(loop.index, lanes)
            left_over = builder.sub(OW, ox)
            column = builder.sub(builder.mul(ox, _number(s)), left)
            whole = builder.and_(image.holds(column), builder.icmp_signed(">=", left_over, lanes))
            with builder.if_else(whole) as (inside, across):
                with inside:
                    tiles(ox, column, [None] * TAPS, None)
                with across:
                    tiles(ox, column, image.masks(column, left_over), vectors.before(left_over))
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def add_plane(totals, g, g0, OH, OW, x, x0, H, W, top, left, stride, nothing):
    """Add the products of a channel's gradient and image to totals, (TAPS * TAPS * lanes,): see `plane_products`."""
    for oy in range(0, OH, CHAIN):
        rows, above = min(CHAIN, OH - oy), top - oy * stride
        if stride == 1:
            plane_products(1, totals, g, g0 + oy * OW, OW, rows, x, x0, H, W, above, left, nothing)
        else:
            plane_products(2, totals, g, g0 + oy * OW, OW, rows, x, x0, H, W, above, left, nothing)
