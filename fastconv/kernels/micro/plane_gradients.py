"""The gradients of `planes`: of a channel's kernel, and of its image where the stride is 2."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.jit import linked_helper
from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro.plane_image import ROWS, TAPS, Image, kernel_of, number, parts_of, within
from fastconv.kernels.micro.vectors import I32, Vectors, data_of


@intrinsic(prefer_literal=True)
def plane_products(typingctx, stride, totals, g, g0, OW, rows, x, x0, H, W, top, left, nothing):
    """totals[ky*TAPS + kx] += sum of g(oy, ox) * x(oy*stride + ky - top, ox*stride + kx - left), lane by lane.

    For oy < rows, at most CHAIN, and ox < OW; from g0 and x0 on. What lies outside of the image is zero.

    Precondition: as for `plane_tiles`; totals has a vector for each tap.
    """
    if not isinstance(stride, types.IntegerLiteral):
        return None
    s, i64 = stride.literal_value, types.int64
    signature = types.void(
        stride, totals, g, i64, i64, i64, x, i64, i64, i64, i64, i64, nothing
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        T, G, X, zeros = (data_of(context, builder, kinds[i], args[i]) for i in (1, 2, 6, 12))
        g0, OW, rows, x0, H, W, top, left = (args[i] for i in (3, 4, 5, 7, 8, 9, 10, 11))
        vectors = Vectors(builder, kinds[1].dtype)
        image = Image(builder, vectors, s, builder.gep(X, [x0]), zeros, H, W)
        lanes = number(vectors.lanes)
        sums = [cgutils.alloca_once(builder, vectors.type) for _ in range(TAPS * TAPS)]

        def tile(count, oy, ox, column, masks, cells):
            """The products of some rows of a vector of g."""
            first = builder.sub(builder.mul(oy, number(s)), top)
            target, gradients = builder.add(g0, builder.add(builder.mul(oy, OW), ox)), []
            for _ in range(count):
                gradients.append(vectors.load(G, target, cells))
                target = builder.add(target, OW)
            for i in range((count - 1) * s + TAPS):
                source = image.row(builder.add(first, number(i)))
                for kx in range(TAPS):
                    values = image.load(source, builder.add(column, number(kx)), masks[kx])
                    for r, gradient in enumerate(gradients):
                        if 0 <= i - r * s < TAPS:
                            vectors.multiply_add(gradient, values, sums[(i - r * s) * TAPS + kx])

        def tiles(ox, column, masks, cells):
            for slot in sums:
                builder.store(vectors.zero, slot)
            whole = builder.sdiv(rows, number(ROWS))
            with cgutils.for_range(builder, whole) as loop:
                tile(ROWS, builder.mul(loop.index, number(ROWS)), ox, column, masks, cells)
            with cgutils.for_range(builder, rows, start=builder.mul(whole, number(ROWS))) as loop:
                tile(1, loop.index, ox, column, masks, cells)
            for k, slot in enumerate(sums):
                at = number(k * vectors.lanes)
                vectors.store(builder.fadd(vectors.load(T, at), builder.load(slot)), T, at)

        with cgutils.for_range(builder, parts_of(builder, OW, vectors.lanes)) as loop:
            ox = builder.mul(loop.index, lanes)
            left_over = builder.sub(OW, ox)
            column = builder.sub(builder.mul(ox, number(s)), left)
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


@intrinsic
def plane_spread(typingctx, y, y0, H, W, g, g0, OH, OW, top, left, w, w0, terms, nothing, bias):
    """y(iy, ix) = bias + sum over oy, ox, ky, kx with iy = 2*oy + ky - top and ix = 2*ox + kx - left of w * g(oy, ox).

    The gradient of an image from that of its convolution with stride 2: for iy < H and ix < W; from y0 and g0 on. A
    cell of an even place has two taps in its row or column, another one.

    Precondition: as for `plane_tiles`; `nothing` has OW zeros; the weights are finite.
    """
    i64 = types.int64
    signature = types.void(
        y, i64, i64, i64, g, i64, i64, i64, i64, i64, w, i64, terms, nothing, bias
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        Y, G, weights, places, zeros = (data_of(context, builder, kinds[i], args[i]) for i in (0, 4, 10, 12, 13))
        y0, H, W, g0, OH, OW, top, left, w0 = (args[i] for i in (1, 2, 3, 5, 6, 7, 8, 9, 11))
        vectors = Vectors(builder, kinds[0].dtype)
        wide = Vectors(builder, kinds[0].dtype, 2 * vectors.lanes)
        gradient = Image(builder, vectors, 1, builder.gep(G, [g0]), zeros, OH, OW)
        start, one = vectors.broadcast(args[14]), number(1)
        pairs = [lane // 2 + vectors.lanes * (lane % 2) for lane in range(wide.lanes)]
        side_by_side = ir.Constant(ir.VectorType(I32, wide.lanes), pairs)
        odd_first = builder.trunc(builder.and_(left, one), ir.IntType(1))

        kernel = kernel_of(builder, vectors, weights, w0, places)

        def row(oys, kys, m, target, masks, cells):
            """A vector of pairs of cells of a row, which some rows of g reach by rows of the kernel."""
            even, odd = (cgutils.alloca_once(builder, vectors.type) for _ in range(2))
            builder.store(start, even)
            builder.store(start, odd)
            for oy, ky in zip(oys, kys):
                source = gradient.row(oy)
                for kx, slot, column, mask in zip((0, 2, 1), (even, even, odd), columns(m), masks):
                    vectors.multiply_add(kernel[ky * TAPS + kx], vectors.load(source, column, mask), slot)
            first = builder.select(odd_first, builder.load(odd), builder.load(even))
            second = builder.select(odd_first, builder.load(even), builder.load(odd))
            wide.store(builder.shuffle_vector(first, second, side_by_side), Y, target, cells)

        def columns(m):
            """Where g lies for pairs from cell 2*m on: for the even cells' first and last tap, and the odd cells'."""
            middle = builder.add(m, builder.ashr(left, one))
            last = builder.add(middle, builder.and_(left, one))
            return last, builder.sub(last, one), middle

        def rows(m, masks, cells):
            with cgutils.for_range(builder, H) as loop:
                place = builder.add(loop.index, top)
                target = builder.add(y0, builder.add(builder.mul(loop.index, W), builder.shl(m, one)))
                oy = builder.ashr(place, one)
                with builder.if_else(builder.trunc(builder.and_(place, one), ir.IntType(1))) as (odd, even):
                    with odd:
                        row([oy], [1], m, target, masks, cells)
                    with even:
                        row([oy, builder.sub(oy, one)], [0, 2], m, target, masks, cells)

        narrow = builder.icmp_signed("<", W, number(wide.lanes))
        even_width = builder.icmp_signed("==", builder.and_(W, one), number(0))
        with cgutils.for_range(builder, parts_of(builder, W, wide.lanes)) as loop:
            # the last vector ends with a row of an even width: cells that two share have the same sums in both
            ix = builder.mul(loop.index, number(wide.lanes))
            shared = builder.and_(even_width, builder.not_(narrow))
            ix = builder.select(shared, within(builder, loop.index, wide.lanes, W), ix)
            m = builder.ashr(ix, one)
            last, before, middle = columns(m)
            end = builder.add(last, number(vectors.lanes))
            inside = builder.and_(builder.icmp_signed(">=", before, number(0)), builder.icmp_signed("<=", end, OW))
            whole = builder.icmp_signed("<=", builder.add(ix, number(wide.lanes)), W)
            with builder.if_else(builder.and_(inside, whole)) as (plain, masked):
                with plain:
                    rows(m, [None] * TAPS, None)
                with masked:
                    masks = [gradient.mask(column) for column in (last, before, middle)]
                    rows(m, masks, wide.before(builder.sub(W, ix)))
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def spread_plane(y, y0, H, W, g, g0, OH, OW, top, left, w, w0, terms, nothing, bias):
    """As `plane_spread`."""
    plane_spread(y, y0, H, W, g, g0, OH, OW, top, left, w, w0, terms, nothing, bias)
