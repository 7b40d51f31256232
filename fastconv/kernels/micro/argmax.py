"""The vector tiles for gradients of pixels that were the maxima of their windows.

Those of one image take patches of the input: what the kernel covers of an image whose channels come last. A row of a
patch lies in one piece, so that its vectors are full even though each maximum has a patch of its own. Those of
interleaved images take windows, with zeros in the lanes whose maximum is another pixel.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

from fastconv._geometry.ranges import ceil_div
from fastconv.kernels.micro.copy import transpose_block
from fastconv.kernels.micro.vectors import I64, LANES, MANY_REGISTERS, Vectors, data_of, strided

# kernels of as many rows as columns whose taps are summed at once, all in registers
WINDOW_SIDES = (3, 5) if MANY_REGISTERS else (3,)
# vectors of a patch that are summed at once, all in registers
PATCH_WIDTHS = (2, 4, 6, 8, 10, 12, 14) if MANY_REGISTERS else (2, 4, 6, 8, 10)


@intrinsic
def as_integers(typingctx, a):
    """The memory of a flat array of floats as integers as wide: their vectors, and places, are those of the floats."""
    integers = types.Array(types.int32 if a.dtype.bitwidth == 32 else types.int64, 1, "C")

    def codegen(context, builder, signature, args):
        given = context.make_array(signature.args[0])(context, builder, value=args[0])
        view = context.make_array(integers)(context, builder)
        for name in ("meminfo", "parent", "nitems", "itemsize", "shape", "strides"):
            setattr(view, name, getattr(given, name))
        view.data = builder.bitcast(given.data, view.data.type)
        return impl_ret_borrowed(context, builder, integers, view._getvalue())

    return integers(a), codegen


def patch_parts(vectors: int) -> tuple[int, int]:
    """How many equal parts a sum of vectors takes, and the vectors of a part, one of PATCH_WIDTHS."""
    parts = ceil_div(vectors, PATCH_WIDTHS[-1])
    return parts, next(width for width in PATCH_WIDTHS if width * parts >= vectors)


def _each_width(builder, vectors, T, t0, count, width, fresh, products):
    """Sums of `width` vectors, one of PATCH_WIDTHS, kept in registers: stored from T[t0] on where `fresh`, else added.

    products(i, slots, add) adds the i-th of `count` terms to the slots.
    """
    end = builder.append_basic_block("patch.end")
    switch = builder.switch(width, end)
    for size in PATCH_WIDTHS:
        block = builder.append_basic_block(f"patch.{size}")
        switch.add_case(ir.Constant(I64, size), block)
        builder.position_at_end(block)
        cells = [builder.add(t0, ir.Constant(I64, v * vectors.lanes)) for v in range(size)]
        slots = [cgutils.alloca_once(builder, vectors.type) for _ in cells]
        for slot in slots:
            builder.store(vectors.zero, slot)
        term = products(size)
        with cgutils.for_range(builder, count) as loop:
            vectors.keep_loop()
            scale, values = term(loop.index)
            for value, slot in zip(values, slots):
                vectors.multiply_add(scale, value, slot)
        for cell, slot in zip(cells, slots):
            total = builder.load(slot)
            vectors.store(total if fresh else builder.fadd(vectors.load(T, cell), total), T, cell)
        builder.branch(end)
    builder.position_at_end(end)


def _number(builder, pointer):
    """The argmax that lies there."""
    number = builder.load(pointer)
    return number if number.type == I64 else builder.sext(number, I64)


@intrinsic
def patch_dots_tile(typingctx, t, t0, width, g, g0, argmax, n0, x, x0, table, corners, taps, offsets, count):
    """t[t0 + v*lanes + lane] += sum over e of g[g0 + e] * x[x0 + place(e) + table[offsets + v] + lane], v < width.

    Where place(e) = table[corners + e] + table[taps + argmax[n0 + e]], e < count.

    Precondition: flat arrays, t, g and x of one float type, argmax of integers as wide; table uint64; `width` one of
    PATCH_WIDTHS; numbers of 64 bits.
    """
    number = types.int64
    signature = types.void(t, number, number, g, number, argmax, number, x, number, table, *[number] * 4)

    def codegen(context, builder, signature, args):
        T, G, N, X, table = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3, 5, 7, 9))
        _, t0, width, _, g0, _, n0, _, x0, _, corners, taps, offsets, count = args
        vectors = Vectors(builder, signature.args[0].dtype)
        G, N, X = (builder.gep(base, [first]) for base, first in ((G, g0), (N, n0), (X, x0)))
        corners, taps, offsets = (builder.gep(table, [first]) for first in (corners, taps, offsets))

        def products(size):
            apart = [builder.load(builder.gep(offsets, [ir.Constant(I64, v)])) for v in range(size)]

            def term(i):
                tap = _number(builder, builder.gep(N, [i]))
                place = builder.add(builder.load(builder.gep(corners, [i])), builder.load(builder.gep(taps, [tap])))
                scale = vectors.broadcast(builder.load(builder.gep(G, [i])))
                return scale, (vectors.load(X, builder.add(place, offset)) for offset in apart)

            return term

        _each_width(builder, vectors, T, t0, count, width, False, products)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic(prefer_literal=True)
def window_dots_tile(typingctx, side, t, t0, g, g0, argmax, n0, x, x0, x_row, width):
    """t[t0 + (ky*side + kx)*LANES + i] += sum over j and px < width of g[p] * x[x0 + y*x_row + (2*px + c)*LANES + i].

    For ky, kx < side and the i < LANES of one vector; the sum is over those j < 4 that equal argmax[p], where p is
    px*LANES + i from g0 and n0, and y = ky + j // 2, c = kx + j % 2.

    Precondition: `side` a literal; flat arrays of one float type, argmax of integers as wide; numbers of 64 bits.
    """
    if not isinstance(side, types.IntegerLiteral):
        return None
    number = types.int64
    signature = types.void(side, t, number, g, number, argmax, number, x, number, number, number)
    taps = range(side.literal_value)

    def codegen(context, builder, signature, args):
        T, G, N, X = (data_of(context, builder, signature.args[i], args[i]) for i in (1, 3, 5, 7))
        _, _, t0, _, g0, _, n0, _, x0, x_row, width = args
        vectors, integers = Vectors(builder, signature.args[1].dtype), Vectors(builder, signature.args[5].dtype)
        cell = ir.Constant(I64, LANES)
        sums = {}
        for ky in taps:
            for kx in taps:
                place = builder.add(t0, ir.Constant(I64, (ky * len(taps) + kx) * LANES))
                sums[ky, kx] = place, cgutils.alloca_once(builder, vectors.type)
        for _, slot in sums.values():
            builder.store(vectors.zero, slot)
        rows = strided(builder, X, x0, x_row, len(taps) + 1)
        with cgutils.for_range(builder, width) as loop:
            vectors.keep_loop()
            pixel = builder.mul(loop.index, cell)
            value, found = vectors.load(G, builder.add(g0, pixel)), integers.load(N, builder.add(n0, pixel))
            grads = {}
            for j in range(4):
                there = builder.icmp_signed("==", found, ir.Constant(integers.type, [j] * integers.lanes))
                grads[j // 2, j % 2] = builder.select(there, value, vectors.zero)
            for y, row in enumerate(rows):
                for c in range(len(taps) + 1):
                    place = builder.add(builder.add(pixel, pixel), ir.Constant(I64, c * LANES))
                    x = vectors.load(row, place)
                    for (dy, dx), grad in grads.items():
                        if (y - dy, c - dx) in sums:
                            vectors.multiply_add(grad, x, sums[y - dy, c - dx][1])
        for place, slot in sums.values():
            vectors.store(builder.fadd(vectors.load(T, place), builder.load(slot)), T, place)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def pattern_sums_tile(typingctx, t, t0, width, g, g0, argmax, n0, step, patterns, p0, p_number, p_step, count):
    """t[t0 + q] = sum over i of g[g0 + i*step] * patterns[p0 + argmax[n0 + i*step]*p_number + i*p_step + q].

    For i < count and the q of `width` vectors.

    Precondition: flat arrays of one float type, argmax of integers as wide; `width` one of PATCH_WIDTHS; numbers of 64
    bits.
    """
    number = types.int64
    signature = types.void(t, number, number, g, number, argmax, number, number, patterns, *[number] * 4)

    def codegen(context, builder, signature, args):
        T, G, N, P = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3, 5, 8))
        _, t0, width, _, g0, _, n0, step, _, p0, p_number, p_step, count = args
        vectors = Vectors(builder, signature.args[0].dtype)
        G, N, P = (builder.gep(base, [first]) for base, first in ((G, g0), (N, n0), (P, p0)))

        def products(size):
            def term(i):
                at = builder.mul(i, step)
                variant = builder.mul(_number(builder, builder.gep(N, [at])), p_number)
                place = builder.add(variant, builder.mul(i, p_step))
                scale = vectors.broadcast(builder.load(builder.gep(G, [at])))
                cells = [builder.add(place, ir.Constant(I64, v * vectors.lanes)) for v in range(size)]
                return scale, (vectors.load(P, cell) for cell in cells)

            return term

        _each_width(builder, vectors, T, t0, count, width, True, products)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_block_tile(typingctx, d, d0, d_row, s, s0, s_row, rows, n):
    """d[d0 + r*d_row + q] += s[s0 + r*s_row + q] for r < rows and q < n.

    Precondition: flat arrays of one float type; numbers of 64 bits.
    """
    number = types.int64
    signature = types.void(d, number, number, s, *[number] * 4)

    def codegen(context, builder, signature, args):
        D, S = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3))
        _, d0, d_row, _, s0, s_row, rows, n = args
        vectors = Vectors(builder, signature.args[0].dtype)
        lanes = ir.Constant(I64, vectors.lanes)
        whole = builder.mul(builder.sdiv(n, lanes), lanes)
        mask = vectors.before(builder.sub(n, whole))

        def add(target, source, mask):
            total = builder.fadd(vectors.load(D, target, mask), vectors.load(S, source, mask))
            vectors.store(total, D, target, mask)

        with cgutils.for_range(builder, rows) as row:
            target = builder.add(d0, builder.mul(row.index, d_row))
            source = builder.add(s0, builder.mul(row.index, s_row))
            with cgutils.for_range(builder, builder.sdiv(n, lanes)) as loop:
                q = builder.mul(loop.index, lanes)
                add(builder.add(target, q), builder.add(source, q), None)
            add(builder.add(target, whole), builder.add(source, whole), mask)
        return context.get_dummy_value()

    return signature, codegen


def _listed(builder, vectors, base, start, table, first):
    """Pointers to base[start + table[first + i]], as many as a vector has lanes."""
    places = (builder.gep(table, [builder.add(first, ir.Constant(I64, i))]) for i in range(vectors.lanes))
    return [builder.gep(base, [builder.add(start, builder.load(place))]) for place in places]


@intrinsic
def gather_tile(typingctx, d, d0, d_row, s, s0, table, first, rows, columns):
    """d[d0 + j*d_row + i] = s[s0 + table[first + i] + j] for i < rows and j < columns, each at most a vector's lanes.

    Precondition: flat arrays, d and s of one float type; table uint64, that long past the last row; numbers of 64 bits.
    """
    number = types.int64
    signature = types.void(d, number, number, s, number, table, *[number] * 3)

    def codegen(context, builder, signature, args):
        D, S, table = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 3, 5))
        _, d0, d_row, _, s0, _, first, rows, columns = args
        vectors = Vectors(builder, signature.args[0].dtype)
        sources = _listed(builder, vectors, S, s0, table, first)
        transpose_block(builder, vectors, strided(builder, D, d0, d_row, vectors.lanes), sources, rows, columns)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def scatter_tile(typingctx, d, d0, table, first, s, s0, s_row, rows, columns):
    """d[d0 + table[first + j] + i] = s[s0 + i*s_row + j] for i < rows and j < columns, each at most a vector's lanes.

    Precondition: as for `gather_tile`.
    """
    number = types.int64
    signature = types.void(d, number, table, number, s, *[number] * 4)

    def codegen(context, builder, signature, args):
        D, table, S = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, d0, _, first, _, s0, s_row, rows, columns = args
        vectors = Vectors(builder, signature.args[0].dtype)
        targets = _listed(builder, vectors, D, d0, table, first)
        transpose_block(builder, vectors, targets, strided(builder, S, s0, s_row, vectors.lanes), rows, columns)
        return context.get_dummy_value()

    return signature, codegen
