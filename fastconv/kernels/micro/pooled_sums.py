"""A convolution of interleaved images with its max-pooling: the sums of a window of 2 x 2 pixels stay in registers."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import linked_helper
from fastconv.kernels.blocking import chain_of
from fastconv.kernels.micro.records import unpacked
from fastconv.kernels.micro.vectors import (
    I1,
    I64,
    LANES,
    MANY_REGISTERS,
    VECTOR_BYTES,
    Vectors,
    data_of,
    in_blocks,
    strided,
)
from fastconv.kernels.micro.windows import better


def _whole(value):
    return ir.Constant(I64, value)


class _Sums:
    """Emits the sums of a window's four pixels for some rows of weights, one vector of each."""

    def __init__(self, builder, vectors, weights, pixels, taps):
        self.builder, self.vectors, self.weights, self.pixels, self.taps = builder, vectors, weights, pixels, taps
        self.sums = [[cgutils.alloca_once(builder, vectors.type) for _ in pixels] for _ in weights]
        totals = [[cgutils.alloca_once(builder, vectors.type) for _ in pixels] for _ in weights]
        self.slots = [pair for pairs in zip(self.sums, totals) for pair in zip(*pairs)]

    def set_aside(self, first):
        """Begin a block of terms, with the sum of those before it apart."""
        with self.builder.if_then(self.builder.not_(first)):
            for slot, total in self.slots:
                self.builder.store(self.builder.load(slot), total)
                self.builder.store(self.vectors.zero, slot)

    def add_products(self, low, high):
        """Add a block of terms."""
        builder = self.builder
        with cgutils.for_range(builder, high, start=low) as loop:
            self.vectors.keep_loop()
            term = builder.load(builder.gep(self.taps, [loop.index]))
            inputs = [self.vectors.load(pixel, term) for pixel in self.pixels]
            for row, slots in zip(self.weights, self.sums):
                weight = self.vectors.broadcast(builder.load(builder.gep(row, [loop.index])))
                for value, slot in zip(inputs, slots):
                    self.vectors.multiply_add(weight, value, slot)

    def take_back(self, first, last):
        """Add what was set aside."""
        builder = self.builder
        with builder.if_then(builder.not_(first)):
            for slot, total in self.slots:
                builder.store(builder.fadd(builder.load(slot), builder.load(total)), slot)


@intrinsic(prefer_literal=True)
def _pooled_sums_tile(typingctx, rows, y, y0, argmax, n0, weight, x, x0, epilogue, i, K, chain):
    """The micro-kernel: `pooled_sums` of `rows` rows of weights from the i-th on, for one vector of windows.

    Blocks of `chain` terms are summed apart.

    Precondition: `rows` a literal; numbers of 64 bits.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None
    MR, place = rows.literal_value, types.uint64
    signature = types.void(rows, y, place, argmax, place, weight, x, place, epilogue, place, place, place)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        y, argmax, x, epilogue = (unpacked(context, builder, kinds[n], args[n]) for n in (1, 3, 6, 8))
        weight, (i, K, chain) = data_of(context, builder, kinds[5], args[5]), args[9:]
        y0, n0, x0 = args[2], args[4], args[7]
        vectors = Vectors(builder, kinds[1].types[0].dtype)
        integers = Vectors(builder, kinds[3].types[0].dtype)
        pixels = [
            pixel
            for row in strided(builder, x.data, x0, x.run, 2)
            for pixel in strided(builder, row, _whole(0), _whole(LANES), 2)
        ]
        sums = _Sums(builder, vectors, strided(builder, weight, builder.mul(i, K), K, MR), pixels, x.rows)
        for m, slots in enumerate(sums.sums):
            first = vectors.broadcast(builder.load(builder.gep(epilogue.bias, [builder.add(i, _whole(m))])))
            for slot in slots:
                builder.store(first, slot)
        in_blocks(builder, _whole(0), K, chain, ir.Constant(I1, 1), sums.set_aside, sums.add_products, sums.take_back)
        lowest = vectors.broadcast(epilogue.lowest)
        y_rows, argmax_rows = (
            strided(builder, to.data, builder.add(start, builder.mul(i, to.row)), to.row, MR)
            for to, start in ((y, y0), (argmax, n0))
        )
        for row, at, slots in zip(y_rows, argmax_rows, sums.sums):
            most, number = builder.load(slots[0]), integers.zero
            for j, slot in enumerate(slots[1:], 1):
                value = builder.load(slot)
                wins = better(builder, value, most)
                most = builder.select(wins, value, most)
                number = builder.select(wins, ir.Constant(integers.type, [j] * integers.lanes), number)
            low = builder.fcmp_ordered("<=", most, lowest)
            vectors.store(builder.select(low, lowest, most), row, _whole(0))
            integers.store(number, at, _whole(0))
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def pooled_sums(y, y0, argmax, n0, weight, x, x0, epilogue, rows, width):
    """The largest of the sums of each window of 2 x 2 pixels, and its number, for all LANES of `width` windows.

    sum(i, r, c) = bias[i] + sum over k < K of weight[i*K + k] * x(k, r, c*LANES ..), i < rows; the largest of the four
    goes to y(i, 0, ..), its number r*2 + c to argmax(i, 0, ..), from y0, n0 and x0 on. The windows lie side by side,
    and so do their results. NaN wins, and the first of equal numbers; sums are clamped.

    Precondition: y and argmax Regions of one run, argmax of integers as wide as the floats; weight flat, (rows, K); x a
    Panel of K rows; the epilogue overwrites.
    """
    K = x.rows.size
    if ENABLED:
        vector, chain = VECTOR_BYTES // weight.itemsize, chain_of(K)
        for cell in range(0, width * LANES, vector):
            i, Y, N, X = 0, y0 + cell, n0 + cell, x0 + cell + cell // LANES * LANES
            if MANY_REGISTERS:
                while rows - i >= 6:
                    _pooled_sums_tile(6, y, Y, argmax, N, weight, x, X, epilogue, i, K, chain)
                    i += 6
                if rows - i >= 4:
                    _pooled_sums_tile(4, y, Y, argmax, N, weight, x, X, epilogue, i, K, chain)
                    i += 4
            while rows - i >= 2:
                _pooled_sums_tile(2, y, Y, argmax, N, weight, x, X, epilogue, i, K, chain)
                i += 2
            if rows > i:
                _pooled_sums_tile(1, y, Y, argmax, N, weight, x, X, epilogue, i, K, chain)
        return
    lowest = epilogue.lowest
    for i in range(rows):
        for cell in range(width * LANES):
            best, at = lowest, -1
            for j in range(4):
                corner = x0 + cell + cell // LANES * LANES + j // 2 * x.run + j % 2 * LANES
                total = epilogue.bias[i]
                for k in range(K):
                    total += weight[i * K + k] * x.data[np.int64(x.rows[k]) + corner]
                if at < 0 or total > best or (total != total and best == best):
                    best, at = total, j
            y.data[y0 + i * y.row + cell] = lowest if best <= lowest else best
            argmax.data[n0 + i * argmax.row + cell] = at
