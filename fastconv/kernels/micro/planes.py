"""Convolution of one channel's image with one kernel, read as it is: what depthwise convolution in NCHW order is.

Vectors hold pixels of a row.
"""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.jit import linked_helper
from fastconv.kernels.micro.plane_image import ROWS, TAPS, Image, kernel_of, number, parts_of, within
from fastconv.kernels.micro.vectors import Vectors, data_of


@intrinsic(prefer_literal=True)
def plane_tiles(typingctx, stride, y, y0, OH, OW, x, x0, H, W, top, left, w, w0, terms, nothing, bias, lowest):
    """y(oy, ox) = bias + sum over ky, kx < TAPS of w[w0 + terms[ky*TAPS + kx]] * x(oy*stride + ky - top, ...), clamped.

    For oy < OH and ox < OW; from y0 and x0 on. What lies outside of the image is zero.

    Precondition: `stride` a literal; y, x, w and `nothing`, W zeros, flat arrays of one float type; bias and lowest
    numbers of it; terms uint64; the other numbers int64.
    """
    if not isinstance(stride, types.IntegerLiteral):
        return None
    s, i64 = stride.literal_value, types.int64
    signature = types.void(
        stride, y, i64, i64, i64, x, i64, i64, i64, i64, i64, w, i64, terms, nothing, bias,
        lowest,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        Y, X, weights, places, zeros = (data_of(context, builder, kinds[i], args[i]) for i in (1, 5, 11, 13, 14))
        y0, OH, OW, x0, H, W, top, left, w0 = (args[i] for i in (2, 3, 4, 6, 7, 8, 9, 10, 12))
        vectors = Vectors(builder, kinds[1].dtype)
        image = Image(builder, vectors, s, builder.gep(X, [x0]), zeros, H, W)
        start, floor = vectors.broadcast(args[15]), vectors.broadcast(args[16])
        most = ROWS // s  # with stride 2 few rows of the image are shared, and twice as many vectors loaded
        lanes = number(vectors.lanes)

        kernel = kernel_of(builder, vectors, weights, w0, places)

        def tile(rows, oy, ox, column, masks, cells):
            """Some rows of a vector of results; the image's cells under masks for each column of the kernel."""
            first = builder.sub(builder.mul(oy, number(s)), top)
            sums = [cgutils.alloca_once(builder, vectors.type) for _ in range(rows)]
            for slot in sums:
                builder.store(start, slot)
            for i in range((rows - 1) * s + TAPS):
                source = image.row(builder.add(first, number(i)))
                for kx in range(TAPS):
                    values = image.load(source, builder.add(column, number(kx)), masks[kx])
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
            with builder.if_else(builder.icmp_signed("<", OH, number(most))) as (few, many):
                with few, cgutils.for_range(builder, OH) as loop:
                    tile(1, loop.index, ox, column, masks, cells)
                with many, cgutils.for_range(builder, parts_of(builder, OH, most)) as loop:
                    tile(most, within(builder, loop.index, most, OH), ox, column, masks, cells)

        narrow = builder.icmp_signed("<", OW, lanes)
        with cgutils.for_range(builder, parts_of(builder, OW, vectors.lanes)) as loop:
            # the last vector ends with the row: lanes that two share have the same sums in both
            ox = builder.select(narrow, number(0), within(builder, loop.index, vectors.lanes, OW))
            column = builder.sub(builder.mul(ox, number(s)), left)
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
