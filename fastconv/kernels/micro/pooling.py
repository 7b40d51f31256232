"""The vector tiles of pooling: windows of pixels along a row, and windows of cells that hold images side by side."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.vectors import I1, I32, I64, LANES, Vectors, data_of, in_blocks, strided


def _whole(value):
    return ir.Constant(I64, value)


def _better(builder, value, most):
    """Where `value` is larger than what has been the most so far, or the first NaN."""
    return builder.and_(builder.fcmp_unordered(">", value, most), builder.fcmp_ordered("ord", most, most))


class _Windows:
    """Emits the loops of pooling over a row of results: vectors of them, and for each the taps of their windows."""

    def __init__(self, builder, element, gap, X, numbers):
        self.builder, self.gap, self.X = builder, gap, X
        self.x0, self.W, self.ky_count, self.row_step, self.kx_count, self.dx, self.left, self.n = numbers
        self.vectors = Vectors(builder, element)
        self.wide = Vectors(builder, element, self.vectors.lanes * gap)
        self.every = ir.Constant(self.wide.mask_type, [lane % gap == 0 for lane in range(self.wide.lanes)])
        self.picked = ir.Constant(ir.VectorType(I32, self.vectors.lanes), list(range(0, self.wide.lanes, gap)))

    def _outputs_before(self, pixels):
        # results whose pixel lies before so many: the quotient by the stride, 1 or 2, rounded up
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

        def tap(ky, kx, inside_plane):
            shift = builder.sub(builder.mul(kx, self.dx), self.left)
            inside, there = cells, all_there
            if not inside_plane:
                first = builder.sub(self._outputs_before(builder.neg(shift)), q)
                last = builder.sub(self._outputs_before(builder.sub(self.W, shift)), q)
                last = builder.select(builder.icmp_signed("<", last, bound), last, bound)
                inside = builder.and_(self.vectors.before(last), builder.not_(self.vectors.before(first)))
                there = builder.and_(self.wide.before(last, self.gap), builder.not_(self.wide.before(first, self.gap)))
                there = builder.and_(there, self.every)
            cell = builder.add(builder.mul(ky, self.row_step), builder.add(lane, shift))
            values = self.wide.load(self.X, builder.add(self.x0, cell), there)
            body(builder.shuffle_vector(values, values, self.picked), inside, cell)

        with builder.if_else(self.no_border) as cases:
            for case, inside_plane in zip(cases, (True, False)):
                with case, cgutils.for_range(builder, self.ky_count) as ky:
                    if row_end is None:
                        with cgutils.for_range(builder, self.kx_count) as kx:
                            tap(ky.index, kx.index, inside_plane)
                        continue

                    def taps(low, high, ky=ky, inside_plane=inside_plane):
                        with cgutils.for_range(builder, high, start=low) as kx:
                            tap(ky.index, kx.index, inside_plane)

                    parts = ir.Constant(I64, CHAIN)
                    zero, always = ir.Constant(I64, 0), ir.Constant(I1, 1)
                    in_blocks(builder, zero, self.kx_count, parts, always, lambda _: None, taps, lambda *_: row_end())


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
        windows = _Windows(builder, kinds[1].dtype, gap, X, args[7:])
        vectors = windows.vectors
        whole = ir.VectorType(ir.IntType(vectors.bits), vectors.lanes)
        ramp = ir.Constant(whole, list(range(0, windows.wide.lanes, gap)))
        none, nobody = (ir.Constant(whole, [value] * vectors.lanes) for value in (0, -1))
        best, winner = cgutils.alloca_once(builder, vectors.type), cgutils.alloca_once(builder, whole)

        def tap(value, inside, cell):
            first = builder.add(cell0, cell)
            first = first if vectors.bits == 64 else builder.trunc(first, whole.element)
            index = builder.add(vectors.broadcast(first, whole), ramp)
            old, found = builder.load(best), builder.load(winner)
            # or the first of all
            wins = builder.and_(
                inside, builder.or_(_better(builder, value, old), builder.icmp_signed("<", found, none))
            )
            builder.store(builder.select(wins, value, old), best)
            builder.store(builder.select(wins, index, found), winner)

        def result(q, cells):
            builder.store(vectors.zero, best)
            builder.store(nobody, winner)
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
        windows = _Windows(builder, kinds[1].dtype, kinds[0].literal_value, X, numbers)
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


class _Cells:
    """Emits the loops over windows of cells, of LANES numbers each, as few vectors as hold one."""

    def __init__(self, builder, element):
        self.builder, self.vectors = builder, Vectors(builder, element)

    def windows(self, width, body):
        """Run body(px, shift) for every window and each vector of its cell, `shift` numbers into it."""
        parts = max(1, LANES // self.vectors.lanes)
        with cgutils.for_range(self.builder, width) as loop:
            for part in range(parts):
                body(loop.index, ir.Constant(I64, part * self.vectors.lanes))

    def taps(self, rows, columns, row_step, body):
        """Run body(place, number) for every tap of a window, its place and its number as a vector."""
        builder, vectors = self.builder, self.vectors
        number = cgutils.alloca_once_value(builder, ir.Constant(vectors.scalar, 0.0))
        builder.store(ir.Constant(vectors.scalar, 0.0), number)
        with cgutils.for_range(builder, rows) as row, cgutils.for_range(builder, columns) as column:
            place = builder.mul(row.index, row_step)
            place = builder.add(place, builder.mul(column.index, ir.Constant(I64, LANES)))
            body(place, vectors.broadcast(builder.load(number)))
            builder.store(builder.fadd(builder.load(number), ir.Constant(vectors.scalar, 1.0)), number)


@intrinsic
def max_cells(typingctx, y, y0, numbers, n0, s, s0, rows, columns, row_step, width):
    """The largest number of each lane in `width` windows of cells side by side, and the tap that it is at.

    y[y0 + px*LANES + lane] and numbers[n0 + px*LANES + lane], of the taps (r, c) with r < rows and c < columns at
    s[s0 + px*columns*LANES + r*row_step + c*LANES + lane]. NaN wins, and the first of equal numbers.

    Precondition: flat arrays of one float type, numbers of 64 bits.
    """
    places = types.uint64
    signature = types.void(y, places, numbers, places, s, places, places, places, places, places)

    def codegen(context, builder, signature, args):
        Y, numbers, S = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, y0, _, n0, _, s0, rows, columns, row_step, width = args
        cells = _Cells(builder, signature.args[0].dtype)
        vectors, lanes = cells.vectors, ir.Constant(I64, LANES)
        best, at = (cgutils.alloca_once(builder, vectors.type) for _ in range(2))

        def window(px, shift):
            cell = builder.add(builder.mul(px, lanes), shift)
            corner = builder.add(s0, builder.add(builder.mul(builder.mul(px, columns), lanes), shift))
            builder.store(vectors.load(S, corner), best)
            builder.store(vectors.zero, at)

            def tap(place, number):
                value, most = vectors.load(S, builder.add(corner, place)), builder.load(best)
                better = _better(builder, value, most)
                builder.store(builder.select(better, value, most), best)
                builder.store(builder.select(better, number, builder.load(at)), at)

            cells.taps(rows, columns, row_step, tap)
            vectors.store(builder.load(best), Y, builder.add(y0, cell))
            vectors.store(builder.load(at), numbers, builder.add(n0, cell))

        cells.windows(width, window)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def spread_cells(typingctx, s, s0, g, g0, numbers, n0, rows, columns, row_step, width):
    """The way back of `max_cells`: each g goes to the tap that its number tells, and 0 to the others.

    Precondition: as for `max_cells`; s is overwritten where the windows are.
    """
    places = types.uint64
    signature = types.void(s, places, g, places, numbers, places, places, places, places, places)

    def codegen(context, builder, signature, args):
        S, G, numbers = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, s0, _, g0, _, n0, rows, columns, row_step, width = args
        cells = _Cells(builder, signature.args[0].dtype)
        vectors, lanes = cells.vectors, ir.Constant(I64, LANES)

        def window(px, shift):
            cell = builder.add(builder.mul(px, lanes), shift)
            corner = builder.add(s0, builder.add(builder.mul(builder.mul(px, columns), lanes), shift))
            value, at = vectors.load(G, builder.add(g0, cell)), vectors.load(numbers, builder.add(n0, cell))

            def tap(place, number):
                there = builder.fcmp_ordered("==", at, number)
                vectors.store(builder.select(there, value, vectors.zero), S, builder.add(corner, place))

            cells.taps(rows, columns, row_step, tap)

        cells.windows(width, window)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def max_of_sums_tile(
    typingctx,
    rows,
    y,
    y0,
    y_row,
    numbers,
    n0,
    n_row,
    floor,
    a,
    a0,
    a_row,
    bias,
    i0,
    x,
    x0,
    x_row,
    table,
    terms,
    K,
    chain,
):
    """The largest of the sums of a window of 2 x 2 pixels, and its number, for `rows` rows of weights and one vector.

    sum[i, r, c] = bias[i0 + i] + sum over k < K of a[a0 + i*a_row + k] * x[x0 + r*x_row + c*LANES + table[terms + k]];
    the largest of the four goes to y[y0 + i*y_row], its number r*2 + c to numbers[n0 + i*n_row]. NaN wins, and the
    first of equal numbers; what is up to `floor` is stored as `floor`. Blocks of `chain` terms are summed apart.

    Precondition: `rows` a literal; flat arrays of one float type; table uint64; numbers of 64 bits.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    M, place = rows.literal_value, types.uint64
    signature = types.void(
        rows, y, place, place, numbers, place, place, y.dtype, a, place, place, bias, place, x, place, place, table,
        place, place, place,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        Y, numbers, A, bias, X, table = (
            data_of(context, builder, signature.args[i], args[i]) for i in (1, 4, 8, 11, 13, 16)
        )
        _, _, y0, y_row, _, n0, n_row, floor, _, a0, a_row, _, i0, _, x0, x_row, _, terms, K, chain = args
        vectors = Vectors(builder, signature.args[1].dtype)
        pixels = [
            pixel
            for row in strided(builder, X, x0, x_row, 2)
            for pixel in strided(builder, row, _whole(0), _whole(LANES), 2)
        ]
        weights = strided(builder, A, a0, a_row, M)
        sums = [[cgutils.alloca_once(builder, vectors.type) for _ in pixels] for _ in range(M)]
        totals = [[cgutils.alloca_once(builder, vectors.type) for _ in pixels] for _ in range(M)]
        for i, slots in enumerate(sums):
            first = vectors.broadcast(builder.load(builder.gep(bias, [builder.add(i0, _whole(i))])))
            for slot in slots:
                builder.store(first, slot)

        def begin(first):
            with builder.if_then(builder.not_(first)):
                for slots, kept in zip(sums, totals):
                    for slot, total in zip(slots, kept):
                        builder.store(builder.load(slot), total)
                        builder.store(vectors.zero, slot)

        def products(low, high):
            with cgutils.for_range(builder, high, start=low) as loop:
                vectors.keep_loop()
                term = builder.load(builder.gep(table, [builder.add(terms, loop.index)]))
                inputs = [vectors.load(pixel, term) for pixel in pixels]
                for row, slots in zip(weights, sums):
                    weight = vectors.broadcast(builder.load(builder.gep(row, [loop.index])))
                    for value, slot in zip(inputs, slots):
                        vectors.multiply_add(weight, value, slot)

        def put(first, last):
            with builder.if_then(builder.not_(first)):
                for slots, kept in zip(sums, totals):
                    for slot, total in zip(slots, kept):
                        builder.store(builder.fadd(builder.load(slot), builder.load(total)), slot)

        in_blocks(builder, _whole(0), K, chain, ir.Constant(I1, 1), begin, products, put)
        lowest = vectors.broadcast(floor)
        for row, at, slots in zip(strided(builder, Y, y0, y_row, M), strided(builder, numbers, n0, n_row, M), sums):
            most, number = builder.load(slots[0]), vectors.zero
            for j, slot in enumerate(slots[1:], 1):
                value = builder.load(slot)
                better = _better(builder, value, most)
                most = builder.select(better, value, most)
                number = builder.select(better, ir.Constant(vectors.type, [float(j)] * vectors.lanes), number)
            low = builder.fcmp_ordered("<=", most, lowest)
            vectors.store(builder.select(low, lowest, most), row, _whole(0))
            vectors.store(number, at, _whole(0))
        return context.get_dummy_value()

    return signature, codegen
