"""Arguments that are sizes: integers and pairs of them, shapes, paddings, layouts."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np

from fastconv._arguments.names import one_of
from fastconv.errors import ShapeError

Int2: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str

Pads: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
# the number of a name in NAMED_PADDINGS, and ((top, bottom), (left, right)), which counts where it is NUMBERS
Margins: TypeAlias = tuple[int, Pads]

NAMED_PADDINGS = ("valid", "same", "same_upper", "same_lower", "full")
VALID, SAME, SAME_UPPER, SAME_LOWER, FULL = range(len(NAMED_PADDINGS))
NUMBERS = -1
# sizes stay far inside 64 bits, so that no product of two of them can wrap
LARGEST = 2**31 - 1

LAYOUTS = ("NCHW", "NHWC")


def is_plain(value: Any) -> bool:
    """Whether `value` is an integer or a name, or is made of them alone: it equals nothing that stands for another."""
    return type(value) in (int, str) or (type(value) is tuple and all(map(is_plain, value)))


def check_range(where: str, name: str, number: int, least: int) -> None:
    """Raise a ShapeError unless `number` is from `least` to LARGEST."""
    if number < least or number > LARGEST:
        raise ShapeError("{}: {} must be from {} to {}, got {}", where, name, least, LARGEST, number)


def integer(where: str, name: str, value: Any, least: int = 0) -> int:
    """`value` as a Python int of at least `least`, or an error that names the argument."""
    if type(value) is int:
        number = value
    else:
        if isinstance(value, bool | np.bool_):
            raise TypeError(f"{where}: {name} must be an integer, got {value!r}")
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"{where}: {name} must be an integer, got {value!r}") from None
    check_range(where, name, number, least)
    return number


def check_axis(where: str, axis: int, shape: tuple[int, ...]) -> int:
    """`axis` of an array of this shape, counted from its first; a ShapeError unless it has elements."""
    check_range(where, "axis", axis, -len(shape))
    number = axis + len(shape) if axis < 0 else axis
    if number >= len(shape) or shape[number] < 1:
        raise ShapeError("{}: axis {} of an array of shape {} does not exist or is empty", where, axis, shape)
    return number


def ceil_div(number: int, parts: int) -> int:
    """How many pieces of `parts` elements hold `number` elements: their quotient, rounded up."""
    return -(-number // parts)


def pair(where: str, name: str, value: Any, least: int = 0) -> tuple[int, int]:
    """`value`, one integer or two, as two Python ints."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ShapeError(f"{where}: {name} must be one integer or two, got {value!r}")
        return integer(where, name, value[0], least), integer(where, name, value[1], least)
    number = integer(where, name, value, least)
    return number, number


def sizes(where: str, name: str, value: Any, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """A shape given as an argument: a tuple or list of non-negative integers of one of the ranks."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{where}: {name} must be a tuple of integers, got {value!r}")
    if len(value) not in ranks:
        raise ShapeError(f"{where}: {name} must have {' or '.join(map(str, ranks))} sizes, got {tuple(value)}")
    return tuple(integer(where, name, v) for v in value)


def padding_argument(where: str, value: Any) -> Margins:
    """Any documented form of `padding`, checked: the number of a name or NUMBERS and ((top, bottom), (left, right))."""
    if isinstance(value, str):
        if value not in NAMED_PADDINGS:
            raise ShapeError(f"{where}: padding must be integers or one of {', '.join(NAMED_PADDINGS)}, got {value!r}")
        return NAMED_PADDINGS.index(value), ((0, 0), (0, 0))
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, tuple | list) for v in value):
        if any(len(v) != 2 for v in value):
            raise ShapeError(f"{where}: padding must be ((top, bottom), (left, right)), got {value!r}")
        (top, bottom), (left, right) = value
        before = pair(where, "padding", (top, left))
        after = pair(where, "padding", (bottom, right))
        return NUMBERS, ((before[0], after[0]), (before[1], after[1]))
    h, w = pair(where, "padding", value)
    return NUMBERS, ((h, h), (w, w))


def layout_argument(where: str, value: Any) -> str:
    """`layout`, checked."""
    return one_of(where, "layout", value, LAYOUTS)
