"""One channel's image as micro-kernels read it: rows above and below it are zeros, cells beside it masked."""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from fastconv.kernels.micro.vectors import I32, I64, Vectors

TAPS = 3  # of a kernel, in a row and in a column
ROWS = 4  # of results at a time, which share the rows of the image that they read


def number(value):
    """A constant of 64 bits."""
    return ir.Constant(I64, value)


def parts_of(builder, n, by):
    """How many parts of `by` n has, the last one perhaps smaller."""
    return builder.sdiv(builder.add(n, number(by - 1)), number(by))


def within(builder, index, size, n):
    """Where part `index` of `size` begins, or the last one that ends within n."""
    begin, last = builder.mul(index, number(size)), builder.sub(n, number(size))
    return builder.select(builder.icmp_signed("<", begin, last), begin, last)


def kernel_of(builder, vectors, weights, w0, terms):
    """A channel's kernel, tap by tap: vectors of weights[w0 + terms[k]]."""

    def weight(k):
        place = builder.add(w0, builder.load(builder.gep(terms, [number(k)])))
        return vectors.broadcast(builder.load(builder.gep(weights, [place])))

    return [weight(k) for k in range(TAPS * TAPS)]


class Image(NamedTuple):
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

    def mask(self, column):
        """Of the cells from a column on that are inside of the image."""
        outside = self.wide.before(self.builder.sub(number(0), column))
        return self.builder.and_(self.wide.before(self.builder.sub(self.W, column)), self.builder.not_(outside))

    def masks(self, column, results=None):
        """Of the cells inside of the image, for each column of the kernel; of the first `results` windows alone."""
        found = [self.mask(self.builder.add(column, number(kx))) for kx in range(TAPS)]
        if results is None:
            return found
        windows = self.wide.before(self.builder.mul(results, number(self.stride)))
        return [self.builder.and_(mask, windows) for mask in found]

    def holds(self, column):
        """Whether all cells that a vector of windows reads in a row from `column` on are inside."""
        end = self.builder.add(column, number(TAPS - 1 + self.wide.lanes))
        inside = self.builder.icmp_signed(">=", column, number(0))
        return self.builder.and_(inside, self.builder.icmp_signed("<=", end, self.W))
