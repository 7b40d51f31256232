"""The records that micro-kernels take: how an operand's elements lie, and what is done to the sums at both ends.

Where an operand starts is a number beside its record, such as c0 beside c. So a record is made once, before the loops
that shift it: making one counts a reference to each of its arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types
from numba.core import cgutils

from fastconv.kernels.micro.vectors import data_of


class Matrix(NamedTuple):
    """A matrix of scattered elements: (i, k) is data[a0 + rows[i] + columns[k]], from a0 on.

    Attributes:
        data: a flat array of floats.
        rows: the offset of each row, uint64.
        columns: the offset of each column, uint64.
    """

    data: Any
    rows: Any
    columns: Any


class Panel(NamedTuple):
    """Rows that lie anywhere, in runs of neighbouring cells: (k, r, q) is data[b0 + rows[k] + r*run + q], from b0 on.

    Attributes:
        data: a flat array of floats.
        rows: the offset of each row, uint64: the indirection buffer.
        run: the pitch of runs, int64.
    """

    data: Any
    rows: Any
    run: Any


class Region(NamedTuple):
    """Rows one pitch apart, in runs of neighbouring cells: (i, r, q) is data[c0 + i*row + r*run + q], from c0 on.

    Attributes:
        data: a flat array of floats.
        row: the pitch of rows, int64.
        run: the pitch of runs, int64.
    """

    data: Any
    row: Any
    run: Any


class Epilogue(NamedTuple):
    """What sums start from and how they are stored.

    Attributes:
        bias: an array of floats, one for each row, or for each cell where the micro-kernel says so.
        overwrite: whether sums start from the bias (beta = 0); otherwise they are added to what is there.
        lowest: the clamp: sums up to it are stored as it, NaN as NaN; 0 is ReLU, -inf changes nothing.
    """

    bias: Any
    overwrite: Any
    lowest: Any


class Terms(NamedTuple):
    """The part of the reduction that a tile sums.

    Attributes:
        begin: the first term, int64.
        end: the last term + 1, int64.
        chain: how many are summed one after another, int64.
        first: whether no term was summed before.
        last: whether no term follows.
    """

    begin: Any
    end: Any
    chain: Any
    first: Any
    last: Any


def unpacked(context, builder, kind, record):
    """The record whose fields are LLVM values: of an array the pointer to its first element."""
    values = cgutils.unpack_tuple(builder, record)
    return kind.instance_class(
        *(
            data_of(context, builder, field, value) if isinstance(field, types.Array) else value
            for field, value in zip(kind.types, values)
        )
    )


def length_of(context, builder, kind, record, field):
    """The number of elements of an array of a record, by the field's name."""
    place = kind.instance_class._fields.index(field)
    array = cgutils.unpack_tuple(builder, record)[place]
    return context.make_array(kind.types[place])(context, builder, value=array).nitems


def is_a(kind, record):
    """Whether a Numba type is that of a record."""
    return isinstance(kind, types.BaseTuple) and getattr(kind, "instance_class", None) is record
