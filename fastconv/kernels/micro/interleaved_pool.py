"""Max-pooling of interleaved images: cells hold one number of each of LANES images, and so do the windows' results.

The argmax is the number of the tap inside its window: an integer as wide as the floats, so that vectors are as long.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import linked_helper
from fastconv.kernels.micro.vectors import I64, LANES, Vectors, data_of
from fastconv.kernels.micro.windows import better


class _Cells:
    """Emits the loops over windows of cells, of LANES numbers each, as few vectors as hold one."""

    def __init__(self, builder, element, integer):
        self.builder, self.vectors, self.integers = builder, Vectors(builder, element), Vectors(builder, integer)

    def windows(self, width, body):
        """Run body(px, shift) for every window and each vector of its cell, `shift` numbers into it."""
        parts = max(1, LANES // self.vectors.lanes)
        with cgutils.for_range(self.builder, width) as loop:
            for part in range(parts):
                body(loop.index, ir.Constant(I64, part * self.vectors.lanes))

    def taps(self, rows, columns, row_step, body):
        """Run body(place, number) for every tap of a window, its place and its number as a vector."""
        builder, integer = self.builder, self.integers.scalar
        number = cgutils.alloca_once(builder, integer)
        builder.store(ir.Constant(integer, 0), number)
        with cgutils.for_range(builder, rows) as row, cgutils.for_range(builder, columns) as column:
            place = builder.mul(row.index, row_step)
            place = builder.add(place, builder.mul(column.index, ir.Constant(I64, LANES)))
            body(place, self.integers.broadcast(builder.load(number)))
            builder.store(builder.add(builder.load(number), ir.Constant(integer, 1)), number)


@intrinsic
def _max_cells(typingctx, y, y0, argmax, n0, s, s0, rows, columns, row_step, width):
    """`max_windows` in vectors.

    Precondition: flat arrays, y and s of one float type, argmax of integers as wide; numbers of 64 bits.
    """
    places = types.uint64
    signature = types.void(y, places, argmax, places, s, places, places, places, places, places)

    def codegen(context, builder, signature, args):
        Y, argmax, S = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, y0, _, n0, _, s0, rows, columns, row_step, width = args
        cells = _Cells(builder, signature.args[0].dtype, signature.args[2].dtype)
        vectors, integers, lanes = cells.vectors, cells.integers, ir.Constant(I64, LANES)
        best, at = cgutils.alloca_once(builder, vectors.type), cgutils.alloca_once(builder, integers.type)

        def window(px, shift):
            cell = builder.add(builder.mul(px, lanes), shift)
            corner = builder.add(s0, builder.add(builder.mul(builder.mul(px, columns), lanes), shift))
            builder.store(vectors.load(S, corner), best)
            builder.store(integers.zero, at)

            def tap(place, number):
                value, most = vectors.load(S, builder.add(corner, place)), builder.load(best)
                wins = better(builder, value, most)
                builder.store(builder.select(wins, value, most), best)
                builder.store(builder.select(wins, number, builder.load(at)), at)

            cells.taps(rows, columns, row_step, tap)
            vectors.store(builder.load(best), Y, builder.add(y0, cell))
            integers.store(builder.load(at), argmax, builder.add(n0, cell))

        cells.windows(width, window)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _spread_cells(typingctx, s, s0, g, g0, argmax, n0, rows, columns, row_step, width):
    """`spread_windows` in vectors.

    Precondition: as for `_max_cells`.
    """
    places = types.uint64
    signature = types.void(s, places, g, places, argmax, places, places, places, places, places)

    def codegen(context, builder, signature, args):
        S, G, argmax = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, s0, _, g0, _, n0, rows, columns, row_step, width = args
        cells = _Cells(builder, signature.args[0].dtype, signature.args[4].dtype)
        vectors, lanes = cells.vectors, ir.Constant(I64, LANES)

        def window(px, shift):
            cell = builder.add(builder.mul(px, lanes), shift)
            corner = builder.add(s0, builder.add(builder.mul(builder.mul(px, columns), lanes), shift))
            value = vectors.load(G, builder.add(g0, cell))
            at = cells.integers.load(argmax, builder.add(n0, cell))

            def tap(place, number):
                there = builder.icmp_signed("==", at, number)
                vectors.store(builder.select(there, value, vectors.zero), S, builder.add(corner, place))

            cells.taps(rows, columns, row_step, tap)

        cells.windows(width, window)
        return context.get_dummy_value()

    return signature, codegen


@linked_helper
def max_windows(y, y0, argmax, n0, s, s0, rows, columns, row_step, width):
    """The largest number of each lane in `width` windows of cells side by side, and the tap that it is at.

    y[y0 + px*LANES + lane] and argmax[n0 + px*LANES + lane], of the taps (r, c) with r < rows and c < columns at
    s[s0 + px*columns*LANES + r*row_step + c*LANES + lane]. NaN wins, and the first of equal numbers.

    Precondition: flat arrays, y and s of one float type, argmax of integers as wide.
    """
    if ENABLED:
        _max_cells(y, y0, argmax, n0, s, s0, rows, columns, row_step, width)
        return
    for px in range(width):
        for lane in range(LANES):
            corner, cell = s0 + px * columns * LANES + lane, px * LANES + lane
            best, at = s[corner], 0
            for r in range(rows):
                for c in range(columns):
                    value = s[corner + r * row_step + c * LANES]
                    if value > best or (value != value and best == best):
                        best, at = value, r * columns + c
            y[y0 + cell], argmax[n0 + cell] = best, at


@linked_helper
def spread_windows(s, s0, g, g0, argmax, n0, rows, columns, row_step, width):
    """The way back of `max_windows`: each g goes to the tap that its argmax tells, and 0 to the others.

    Precondition: as there; s is overwritten where the windows are.
    """
    if ENABLED:
        _spread_cells(s, s0, g, g0, argmax, n0, rows, columns, row_step, width)
        return
    for px in range(width):
        for lane in range(LANES):
            corner, cell = s0 + px * columns * LANES + lane, px * LANES + lane
            for r in range(rows):
                for c in range(columns):
                    there = argmax[n0 + cell] == r * columns + c
                    s[corner + r * row_step + c * LANES] = g[g0 + cell] if there else 0
