"""Sums of products of neighbouring cells, element by element: what depthwise convolution is made of."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.jit import helper
from fastconv.kernels.blocking import chain_of
from fastconv.kernels.micro.gemm import ENABLED, I64, VECTOR_BYTES, Vectors, by_width, data_of, strided


@intrinsic(prefer_literal=True)
def products_tile(
    typingctx, pixels, y, y0, y_step, bias, bias0, fresh, floor, x, x0, x_step, x_terms, w, w0, w_terms, k0, k1, n
):
    """y[y0 + p*y_step + q] += sum over k0 <= k < k1 of x[x0 + p*x_step + x_terms[k] + q] * w[w0 + w_terms[k] + q].

    For p < pixels and q < n. Where `fresh`, the sum starts from bias[bias0 + q]; otherwise the terms are summed before
    they are added to what y holds. Sums up to `floor` are stored as `floor`, NaN as NaN.

    Precondition: `pixels` a literal; flat arrays of one float type; x_terms and w_terms uint64; numbers of 64 bits; n
    takes 1 to 4 vectors.
    """
    if not isinstance(pixels, types.IntegerLiteral):
        return None
    M, numbers = pixels.literal_value, types.uint64
    signature = types.void(
        pixels, y, numbers, numbers, bias, numbers, types.boolean, y.dtype, x, numbers, numbers, x_terms, w, numbers,
        w_terms, numbers, numbers, numbers,
    )  # fmt: skip

    def codegen(context, builder, signature, args):
        kinds = signature.args
        Y, bias, X, x_terms, W, w_terms = (data_of(context, builder, kinds[i], args[i]) for i in (1, 4, 8, 11, 12, 14))
        _, _, y0, y_step, _, bias0, fresh, floor, _, x0, x_step, _, _, w0, _, k0, k1, n = args
        vectors = Vectors(builder, kinds[1].dtype)
        targets, sources = strided(builder, Y, y0, y_step, M), strided(builder, X, x0, x_step, M)
        starts, weights = builder.gep(bias, [bias0]), builder.gep(W, [w0])

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
            with cgutils.for_range(builder, k1, start=k0) as loop:
                vectors.keep_loop()
                there, own = (builder.load(builder.gep(terms, [loop.index])) for terms in (x_terms, w_terms))
                factors = [vectors.load(weights, builder.add(own, j), m) for j, m in zip(at, masks)]
                for source, slots in zip(sources, sums):
                    for j, m, factor, slot in zip(at, masks, factors, slots):
                        vectors.multiply_add(vectors.load(source, builder.add(there, j), m), factor, slot)
            with builder.if_then(builder.not_(fresh)):
                for target, slots in zip(targets, sums):
                    for j, m, slot in zip(at, masks, slots):
                        builder.store(builder.fadd(builder.load(slot), vectors.load(target, j, m)), slot)
            lowest = vectors.broadcast(floor)
            for target, slots in zip(targets, sums):
                for j, m, slot in zip(at, masks, slots):
                    total = builder.load(slot)
                    low = builder.fcmp_ordered("<=", total, lowest)
                    vectors.store(builder.select(low, lowest, total), target, j, m)

        by_width(builder, vectors, (4, 3, 2, 1), n, block)
        return context.get_dummy_value()

    return signature, codegen


@helper
def add_products(y, y0, y_step, pixels, bias, bias0, fresh, floor, x, x0, x_step, x_terms, w, w0, w_terms, n):
    """y[y0 + p*y_step + q] += sum over k of x[x0 + p*x_step + x_terms[k] + q] * w[w0 + w_terms[k] + q].

    For p < pixels and q < n. Where `fresh`, the sum starts from bias[bias0 + q] and not from what y holds. Sums up to
    `floor` are stored as `floor`.

    Precondition: flat arrays of one float type; the terms uint64; the other numbers int64, not negative.
    """
    K = x_terms.size
    if ENABLED:
        wide, lowest = 4 * VECTOR_BYTES // y.itemsize, y.dtype.type(-np.inf)
        terms = chain_of(K)
        for k in range(0, max(K, 1), terms):
            first, end = fresh and k == 0, min(k + terms, K)
            last = floor if end == K else lowest
            for q in range(0, n, wide):
                m = min(wide, n - q)
                p = 0
                while pixels - p >= 4:
                    products_tile(
                        4, y, y0 + p * y_step + q, y_step, bias, bias0 + q, first, last, x, x0 + p * x_step + q, x_step,
                        x_terms, w, w0 + q, w_terms, k, end, m,
                    )  # fmt: skip
                    p += 4
                while p < pixels:
                    products_tile(
                        1, y, y0 + p * y_step + q, y_step, bias, bias0 + q, first, last, x, x0 + p * x_step + q, x_step,
                        x_terms, w, w0 + q, w_terms, k, end, m,
                    )  # fmt: skip
                    p += 1
        return
    for p in range(pixels):
        target, source = np.uint64(y0 + p * y_step), np.uint64(x0 + p * x_step)
        for q in range(np.uint64(n)):
            total = bias[np.uint64(bias0) + q] if fresh else y[target + q]
            for k in range(K):
                total += x[source + x_terms[k] + q] * w[np.uint64(w0) + w_terms[k] + q]
            y[target + q] = floor if total <= floor else total
