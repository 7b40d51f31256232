"""What the vector tiles of pooling have in common: the windows along a row of a plane, and which pixel wins."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.vectors import I1, I32, I64, Vectors, in_blocks


def better(builder, value, most):
    """Where `value` is larger than what has been the most so far, or the first NaN."""
    return builder.and_(builder.fcmp_unordered(">", value, most), builder.fcmp_ordered("ord", most, most))


class Windows:
    """Emits the loops of pooling over a row of results: vectors of them, and for each the taps of their windows."""

    def __init__(self, builder, element, gap, X, numbers):
        self.builder, self.gap, self.X = builder, gap, X
        self.x0, self.W, self.ky_count, self.row_step, self.kx_count, self.dx, self.left, self.n = numbers
        self.vectors = Vectors(builder, element)
        self.wide = Vectors(builder, element, self.vectors.lanes * gap)
        self.every = ir.Constant(self.wide.mask_type, [lane % gap == 0 for lane in range(self.wide.lanes)])
        self.picked = ir.Constant(ir.VectorType(I32, self.vectors.lanes), list(range(0, self.wide.lanes, gap)))

    def _outputs_before(self, pixels):
        # results whose pixel lies before the limit: the quotient by the stride, 1 or 2, rounded up
        one = ir.Constant(I64, self.gap - 1)
        return self.builder.ashr(self.builder.add(pixels, one), one)

    def results(self, body):
        """Run body(q, cells) for each vector of results, from q on, and the mask of those that there are."""
        builder, lanes, one = self.builder, ir.Constant(I64, self.vectors.lanes), ir.Constant(I64, 1)
        steps = builder.udiv(builder.sub(builder.add(self.n, lanes), one), lanes)
        jump = ir.Constant(I64, self.gap)
        last = builder.mul(builder.sub(self.n, one), jump)
        reach = builder.add(last, builder.mul(builder.sub(self.kx_count, one), self.dx))
        self.no_border = builder.and_(
            builder.icmp_signed("==", self.left, ir.Constant(I64, 0)), builder.icmp_signed("<", reach, self.W)
        )
        with cgutils.for_range(builder, steps) as step:
            q = builder.mul(step.index, lanes)
            body(q, self.vectors.before(builder.sub(self.n, q)))

    def taps(self, q, cells, body, row_end=None):
        """Run body(values, inside, cell) for each tap, row by row: a vector of pixels, 0 where there are none.

        `inside` masks the pixels that there are, `cell` is the first one's place from x0. After CHAIN taps of a row, or
        all that it has, row_end() is run.
        """
        builder, bound = self.builder, self.builder.sub(self.n, q)
        lane = builder.mul(q, ir.Constant(I64, self.gap))
        all_there = builder.and_(self.wide.before(bound, self.gap), self.every)
        every = ir.Constant(self.vectors.mask_type, [1] * self.vectors.lanes)

        def tap(ky, kx, masks):
            shift = builder.sub(builder.mul(kx, self.dx), self.left)
            inside, there = masks(shift)
            cell = builder.add(builder.mul(ky, self.row_step), builder.add(lane, shift))
            values = self.wide.load(self.X, builder.add(self.x0, cell), there)
            body(builder.shuffle_vector(values, values, self.picked), inside, cell)

        def at_border(shift):
            first = builder.sub(self._outputs_before(builder.neg(shift)), q)
            last = builder.sub(self._outputs_before(builder.sub(self.W, shift)), q)
            last = builder.select(builder.icmp_signed("<", last, bound), last, bound)
            inside = builder.and_(self.vectors.before(last), builder.not_(self.vectors.before(first)))
            there = builder.and_(self.wide.before(last, self.gap), builder.not_(self.wide.before(first, self.gap)))
            return inside, builder.and_(there, self.every)

        def rows(masks):
            with cgutils.for_range(builder, self.ky_count) as ky:
                if row_end is None:
                    with cgutils.for_range(builder, self.kx_count) as kx:
                        tap(ky.index, kx.index, masks)
                    return

                def taps(low, high):
                    with cgutils.for_range(builder, high, start=low) as kx:
                        tap(ky.index, kx.index, masks)

                parts = ir.Constant(I64, CHAIN)
                zero, always = ir.Constant(I64, 0), ir.Constant(I1, 1)
                in_blocks(builder, zero, self.kx_count, parts, always, lambda _: None, taps, lambda *_: row_end())

        with builder.if_else(self.no_border) as (without, bordered):
            with without:
                rows(lambda shift: (cells, all_there))
            with bordered, builder.if_else(self._interior(lane)) as (interior, border):
                with interior:
                    rows(lambda shift: (every, None))
                with border:
                    rows(at_border)

    def _interior(self, lane):
        """Whether all pixels of the windows of a whole vector of results lie on the row, and what is read with them."""
        builder = self.builder
        first = builder.sub(lane, self.left)
        last = builder.add(first, builder.mul(builder.sub(self.kx_count, ir.Constant(I64, 1)), self.dx))
        end = builder.add(last, ir.Constant(I64, self.wide.lanes))
        return builder.and_(
            builder.icmp_signed(">=", first, ir.Constant(I64, 0)), builder.icmp_signed("<=", end, self.W)
        )
