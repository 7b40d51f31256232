"""Sums of products of neighbouring cells, element by element: what depthwise convolution is made of."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import linked_helper
from fastconv.kernels.blocking import chain_of
from fastconv.kernels.micro.records import Terms, unpacked
from fastconv.kernels.micro.vectors import I64, VECTOR_BYTES, Vectors, by_width, data_of, strided


@intrinsic(prefer_literal=True)
def products_tile(typingctx, pixels, y, y0, x, x0, w, w0, epilogue, bias0, terms, n):
    """The micro-kernel: y(p, 0, q) += sum over the terms k of x(k, p, q) * w(k, 0, q), from y0, x0 and w0 on.

    For p < pixels and q < n. The sums start from bias[bias0 + q], or are clamped, as the epilogue says and where these
    are the first or the last terms; otherwise the terms are summed before they are added to what y holds.

    Precondition: `pixels` a literal; y a Region, x and w Panels, all of one float type; numbers of 64 bits; n takes 1
    to 4 vectors.
    """
    if not isinstance(pixels, types.IntegerLiteral):
        return None
    M, number = pixels.literal_value, types.uint64
    signature = types.void(pixels, y, number, x, number, w, number, epilogue, number, terms, number)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        y, x, w, epilogue, part = (unpacked(context, builder, kinds[i], args[i]) for i in (1, 3, 5, 7, 9))
        y0, x0, w0, bias0, n = (args[i] for i in (2, 4, 6, 8, 10))
        vectors = Vectors(builder, kinds[1].types[0].dtype)
        targets, sources = strided(builder, y.data, y0, y.row, M), strided(builder, x.data, x0, x.run, M)
        starts, weights = builder.gep(epilogue.bias, [bias0]), builder.gep(w.data, [w0])
        fresh = builder.and_(epilogue.overwrite, part.first)
        nothing = ir.Constant(vectors.scalar, float("-inf"))
        lowest = vectors.broadcast(builder.select(part.last, epilogue.lowest, nothing))

        def block(width, mask):
            at = [ir.Constant(I64, j * vectors.lanes) for j in range(width)]
            masks = [None] * (width - 1) + [mask]
            sums = [[cgutils.alloca_once(builder, vectors.type) for _ in at] for _ in range(M)]
            with builder.if_else(fresh) as (begin, go_on):
                for case, loaded in ((begin, True), (go_on, False)):
                    with case:
                        for j, m in enumerate(masks):
                            start = vectors.load(starts, at[j], m) if loaded else vectors.zero
                            for slots in sums:
                                builder.store(start, slots[j])
            with cgutils.for_range(builder, part.end, start=part.begin) as loop:
                vectors.keep_loop()
                there, own = (builder.load(builder.gep(rows, [loop.index])) for rows in (x.rows, w.rows))
                factors = [vectors.load(weights, builder.add(own, j), m) for j, m in zip(at, masks)]
                for source, slots in zip(sources, sums):
                    for j, m, factor, slot in zip(at, masks, factors, slots):
                        vectors.multiply_add(vectors.load(source, builder.add(there, j), m), factor, slot)
            with builder.if_then(builder.not_(fresh)):
                for target, slots in zip(targets, sums):
                    for j, m, slot in zip(at, masks, slots):
                        builder.store(builder.fadd(builder.load(slot), vectors.load(target, j, m)), slot)
            for target, slots in zip(targets, sums):
                for j, m, slot in zip(at, masks, slots):
                    total = builder.load(slot)
                    low = builder.fcmp_ordered("<=", total, lowest)
                    vectors.store(builder.select(low, lowest, total), target, j, m)

        by_width(builder, vectors, (4, 3, 2, 1), n, block)
        return context.get_dummy_value()

    return signature, codegen


def by_vector(builder, vectors, n, body):
    """Run body(q, mask) for each vector of n cells, the last one under a mask if it is not whole."""
    lanes = ir.Constant(I64, vectors.lanes)
    whole = builder.udiv(n, lanes)
    with cgutils.for_range(builder, whole) as loop:
        body(builder.mul(loop.index, lanes), None)
    done = builder.mul(whole, lanes)
    with builder.if_then(builder.icmp_unsigned("<", done, n)):
        body(done, vectors.before(builder.sub(n, done)))


PIXELS = 4  # pixels whose sums, with the inputs of one run, stay in 16 registers


@intrinsic(prefer_literal=True)
def runs_tile(typingctx, pixels, y, y0, x, x0, w, epilogue, runs, n):
    """The micro-kernel: y(p, 0, q) = bias[q] + sum over the runs k and taps t of x(k, p + t, q) * w(k, t, q), clamped.

    From y0 and x0 on, for p < pixels and q < n. `runs` are the first run of three taps, the last + 1, and the first and
    last + 1 of two. Taps side by side share the pixels, each of which is loaded once for a run.

    Precondition: `pixels` a literal; y a Region, x and w Panels, all of one float type; numbers of 64 bits.
    """
    if not isinstance(pixels, types.IntegerLiteral):
        return None
    M, number = pixels.literal_value, types.uint64
    signature = types.void(pixels, y, number, x, number, w, epilogue, types.UniTuple(types.int64, 4), number)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        y, x, w, epilogue = (unpacked(context, builder, kinds[i], args[i]) for i in (1, 3, 5, 6))
        y0, x0, n = (args[i] for i in (2, 4, 8))
        begin, end, second, last = cgutils.unpack_tuple(builder, args[7])
        vectors = Vectors(builder, kinds[1].types[0].dtype)
        zero = ir.Constant(I64, 0)
        lowest = vectors.broadcast(epilogue.lowest)

        def block(q, mask):
            sums = [cgutils.alloca_once(builder, vectors.type) for _ in range(M)]
            start = vectors.load(epilogue.bias, q, mask)
            for slot in sums:
                builder.store(start, slot)
            inputs, weights = builder.gep(x.data, [builder.add(x0, q)]), builder.gep(w.data, [q])
            for taps, low, high in ((3, begin, end), (2, second, last)):
                with cgutils.for_range(builder, high, start=low) as loop:
                    vectors.keep_loop()
                    there, own = (builder.load(builder.gep(rows, [loop.index])) for rows in (x.rows, w.rows))
                    columns = strided(builder, inputs, there, x.run, M + taps - 1)
                    values = [vectors.load(column, zero, mask) for column in columns]
                    for t, tap in enumerate(strided(builder, weights, own, w.run, taps)):
                        factor = vectors.load(tap, zero, mask)
                        for value, slot in zip(values[t:], sums):
                            vectors.multiply_add(value, factor, slot)
            for target, slot in zip(strided(builder, y.data, builder.add(y0, q), y.row, M), sums):
                total = builder.load(slot)
                low = builder.fcmp_ordered("<=", total, lowest)
                vectors.store(builder.select(low, lowest, total), target, zero, mask)

        by_vector(builder, vectors, n, block)
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def convolve_pixels(y, y0, x, x0, w, epilogue, runs, pixels, n):
    """`runs_tile` of any number of pixels; some may be computed twice."""
    if pixels < PIXELS:
        for p in range(pixels):
            runs_tile(1, y, y0 + p * y.row, x, x0 + p * x.run, w, epilogue, runs, n)
        return
    for first in range(0, pixels, PIXELS):
        p = min(first, pixels - PIXELS)
        runs_tile(4, y, y0 + p * y.row, x, x0 + p * x.run, w, epilogue, runs, n)


@linked_helper
def add_products(y, y0, x, x0, w, w0, epilogue, K, pixels, n):
    """y(p, 0, q) += sum over k < K of x(k, p, q) * w(k, 0, q), for p < pixels and q < n, from y0, x0 and w0 on.

    With the epilogue: the sums start from bias[q] and not from what y holds if they overwrite it, and are clamped.

    Precondition: y a Region, x and w Panels of at least K rows, all of one float type; numbers int64, none negative.
    """
    if ENABLED:
        wide = 4 * VECTOR_BYTES // y.data.itemsize
        chain = chain_of(K)
        for k in range(0, max(K, 1), chain):
            end = min(k + chain, K)
            terms = Terms(k, end, chain, k == 0, end == K)
            p = 0
            while p < pixels:  # all channels of some pixels, as they lie in memory, before the next
                some, target, source = 4 if pixels - p >= 4 else 1, y0 + p * y.row, x0 + p * x.run
                for q in range(0, n, wide):
                    m = min(wide, n - q)
                    if some == 4:
                        products_tile(4, y, target + q, x, source + q, w, w0 + q, epilogue, q, terms, m)
                    else:
                        products_tile(1, y, target + q, x, source + q, w, w0 + q, epilogue, q, terms, m)
                p += some
        return
    Y, X, W, x_rows, w_rows, start = y.data, x.data, w.data, x.rows, w.rows, np.uint64(w0)
    for p in range(pixels):
        target, source = np.uint64(y0 + p * y.row), x0 + p * x.run  # which may lie before the array
        for q in range(np.uint64(n)):
            total = epilogue.bias[q] if epilogue.overwrite else Y[target + q]
            for k in range(K):
                total += X[source + np.int64(x_rows[k]) + np.int64(q)] * W[start + w_rows[k] + q]
            Y[target + q] = epilogue.lowest if total <= epilogue.lowest else total


@intrinsic(prefer_literal=True)
def taps_tile(typingctx, taps, sums, s0, s, x, x0, g, g0, first, pixels, n):
    """The micro-kernel: sums[s0 + s[t] + q] += sum over p < pixels of x(t, p, q) * g(0, p, q), from x0 and g0 on.

    For first <= t < first + taps and q < n. The pixels are summed before they are added to what is there.

    Precondition: `taps` a literal; sums flat, s uint64, x a Panel and g a Region, all of one float type but s; numbers
    of 64 bits.
    """
    if not isinstance(taps, types.IntegerLiteral):
        return None
    T, number = taps.literal_value, types.uint64
    signature = types.void(taps, sums, number, s, x, number, g, number, number, number, number)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        data, places = (data_of(context, builder, kinds[i], args[i]) for i in (1, 3))
        x, g = (unpacked(context, builder, kinds[i], args[i]) for i in (4, 6))
        s0, x0, g0, first, pixels, n = (args[i] for i in (2, 5, 7, 8, 9, 10))
        vectors = Vectors(builder, kinds[1].dtype)
        ids = [builder.add(first, ir.Constant(I64, t)) for t in range(T)]
        targets, sources = (
            [builder.gep(base, [builder.add(start, builder.load(builder.gep(rows, [i])))]) for i in ids]
            for base, start, rows in ((data, s0, places), (x.data, x0, x.rows))
        )
        pixel = builder.gep(g.data, [g0])

        def block(q, mask):
            slots = [cgutils.alloca_once(builder, vectors.type) for _ in range(T)]
            for slot in slots:
                builder.store(vectors.zero, slot)
            inputs = [builder.gep(source, [q]) for source in sources]
            factors = builder.gep(pixel, [q])
            with cgutils.for_range(builder, pixels) as loop:
                vectors.keep_loop()
                factor = vectors.load(factors, builder.mul(loop.index, g.run), mask)
                there = builder.mul(loop.index, x.run)
                for source, slot in zip(inputs, slots):
                    vectors.multiply_add(vectors.load(source, there, mask), factor, slot)
            for target, slot in zip(targets, slots):
                vectors.store(builder.fadd(builder.load(slot), vectors.load(target, q, mask)), target, q, mask)

        by_vector(builder, vectors, n, block)
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def add_to_taps(sums, s0, s, x, x0, g, g0, first, last, pixels, n):
    """`taps_tile` for first <= t < last."""
    if ENABLED:
        t = first
        while last - t >= 9:
            taps_tile(9, sums, s0, s, x, x0, g, g0, t, pixels, n)
            t += 9
        while last - t >= 6:
            taps_tile(6, sums, s0, s, x, x0, g, g0, t, pixels, n)
            t += 6
        while last - t >= 3:
            taps_tile(3, sums, s0, s, x, x0, g, g0, t, pixels, n)
            t += 3
        while last > t:
            taps_tile(1, sums, s0, s, x, x0, g, g0, t, pixels, n)
            t += 1
        return
    X, G, x_rows = x.data, g.data, x.rows
    for t in range(first, last):
        for q in range(n):
            total = sums.dtype.type(0)
            for p in range(pixels):
                source = x0 + p * x.run + q + np.int64(x_rows[t])  # x0 may lie before the array
                total += X[source] * G[np.uint64(g0 + p * g.run + q)]
            sums[np.uint64(s0 + q) + s[t]] += total
