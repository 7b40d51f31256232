"""What Numba says about the arguments of a call, checked as Python would check their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.extending import register_jitable
from numba.np.numpy_support import as_dtype

from fastconv._arguments import arrays
from fastconv._arguments.scalars import LARGEST, check_limits, limits
from fastconv._arguments.sizes import NAMED_PADDINGS, NUMBERS, integer, layout_argument, padding_argument, pair, sizes
from fastconv._overloads.register import compiled_as
from fastconv.errors import DTypeError, ShapeError

UNKNOWN = object()


def value_of(kind: Any) -> Any:
    """The value of an argument where it is known when the function is compiled, otherwise UNKNOWN."""
    if not isinstance(kind, types.Type):
        return kind  # a default
    if isinstance(kind, types.Omitted):
        return kind.value
    if isinstance(kind, types.NoneType):
        return None
    if isinstance(kind, types.Literal):
        return kind.literal_value
    if isinstance(kind, types.BaseTuple):
        values = tuple(value_of(part) for part in kind)
        return UNKNOWN if any(value is UNKNOWN for value in values) else values
    return UNKNOWN


def is_none(kind: Any) -> bool:
    """Whether the argument is None."""
    return value_of(kind) is None


def known(where: str, name: str, kind: Any) -> Any:
    """The value of an argument that must be known when the function is compiled."""
    value = value_of(kind)
    if value is UNKNOWN:
        raise TypeError(f"{where}: {name} must be a constant inside jitted code, got a variable of type {kind}")
    return value


def array(where: str, name: str, kind: Any) -> types.Array:
    """The type of an array of a dtype that fastconv computes with."""
    if not isinstance(kind, types.Array):
        shown = type(kind).__name__ if not isinstance(kind, types.Type) else kind
        raise DTypeError(f"{where}: {name} must be a NumPy array, got {shown}")
    arrays.numeric(where, name, _sample(kind))
    if kind.dtype == types.float16:
        raise DTypeError(f"{where}: {name} must not be float16 inside jitted code")
    return kind


def optional_array(where: str, name: str, kind: Any) -> types.Array | None:
    """As `array`, or None."""
    return None if is_none(kind) else array(where, name, kind)


def _sample(kind: types.Array) -> np.ndarray:
    try:
        return np.empty(0, as_dtype(kind.dtype))
    except (NumbaError, NotImplementedError):
        return np.empty(0, object)


def result_dtype(*kinds: types.Array | None) -> np.dtype:
    """The dtype of a result of these arrays."""
    return arrays.result_dtype(*(None if kind is None else _sample(kind) for kind in kinds))


def images(where: str, name: str, kind: types.Array) -> None:
    """Raise a ShapeError unless the array is one of images, with a batch or without."""
    if kind.ndim not in (3, 4):
        raise ShapeError(f"{where}: {name} must have 4 dimensions, or 3 without a batch, got {kind.ndim}")


def images_order(where: str, name: str, kind: Any, layout: Any) -> str:
    """The layout of an argument that must be an array of images."""
    order = layout_argument(where, known(where, "layout", layout))
    images(where, name, array(where, name, kind))
    return order


def rank(where: str, name: str, kind: types.Array, ndim: int, meaning: str) -> None:
    """Raise a ShapeError unless the array has `ndim` dimensions."""
    if kind.ndim != ndim:
        raise ShapeError(f"{where}: {name} must have {ndim} dimensions {meaning}, got {kind.ndim}")


class _Unknown:
    """Stands for a value that is not known when the function is compiled, in Python's own checks and their errors."""

    def __init__(self, kind: Any):
        self._kind = kind

    def __repr__(self) -> str:
        return f"a value of type {self._kind}"


class _Whole(_Unknown, int):
    """Stands for an integer, of a value that every check takes: values are checked when the function runs."""

    def __new__(cls, kind: Any) -> _Whole:
        return int.__new__(cls, 1)


def sample(kind: Any) -> Any:
    """A value that Python's own checks find right where one of this type may be."""
    value = value_of(kind)
    if isinstance(kind, types.Integer) or (type(value) is int and value is not UNKNOWN):
        return _Whole(kind)
    if isinstance(kind, types.BaseTuple):
        return tuple(sample(part) for part in kind)
    return _Unknown(kind) if value is UNKNOWN else value


def gradient(where: str, kind: Any, ndim: int) -> types.Array:
    """The type of grad_output, an array of `ndim` dimensions."""
    if array(where, "grad_output", kind).ndim != ndim:
        raise ShapeError(f"{where}: grad_output must have {ndim} dimensions, got {kind.ndim}")
    return kind


def shown(kind: Any) -> str:
    """What an error says that the argument is."""
    value = value_of(kind)
    return f"a value of type {kind}" if value is UNKNOWN else repr(value)


def whole(where: str, name: str, kind: Any) -> None:
    """Raise a TypeError unless the argument is an integer."""
    integer(where, name, sample(kind))


def whole_pair(where: str, name: str, kind: Any) -> None:
    """Raise an error unless the argument is one integer or a tuple of two."""
    if isinstance(kind, types.BaseTuple) and len(kind) != 2:
        raise ShapeError(f"{where}: {name} must be one integer or two, got {shown(kind)}")
    pair(where, name, sample(kind))


def whole_sizes(where: str, name: str, kind: Any, ranks: tuple[int, ...]) -> int:
    """How many integers the tuple has, which must be one of the ranks."""
    return len(sizes(where, name, sample(kind), ranks))


def flag(where: str, name: str, kind: Any) -> None:
    """Raise a TypeError unless the argument is a boolean."""
    if not isinstance(kind, types.Boolean | types.BooleanLiteral) and not isinstance(value_of(kind), bool):
        raise TypeError(f"{where}: {name} must be True or False, got {shown(kind)}")


def some_padding(where: str, kind: Any) -> None:
    """Raise an error unless the argument is one of the forms of a padding."""
    if not isinstance(kind, types.UnicodeType):
        padding_argument(where, sample(kind))


def number(
    where: str, name: str, kind: Any, least: float = -LARGEST, most: float = LARGEST, below: float = math.inf
) -> Callable:  # fmt: skip
    """The function that gives the argument as a float, if it is in its limits; a TypeError unless it is a number."""
    value = value_of(kind)
    if value is UNKNOWN:
        ordinary = isinstance(kind, types.Integer | types.Float)
    else:
        ordinary = isinstance(value, int | float) and not isinstance(value, bool)
    if not ordinary:
        raise TypeError(f"{where}: {name} must be a number, got {shown(kind)}")
    text = limits(least, most, below)

    def checked(value):
        check_limits(where, name, value, least, most, below, text)
        return np.float64(value)

    return register_jitable(checked)


def wanted(where: str, needs: Any) -> tuple[bool, bool, bool]:
    """`needs`, whose values decide the result's type."""
    value = known(where, "needs", needs)
    if not isinstance(value, tuple) or len(value) != 3:
        raise ValueError(f"{where}: needs must be three booleans (x, weight, bias), got {value!r}")
    return bool(value[0]), bool(value[1]), bool(value[2])


def if_wanted(want: bool, function: Any) -> Any:
    """The function for compiled code, or one that gives None."""
    return register_jitable(function if want else lambda *args: None)


def int2(value: Any) -> Any:
    """One integer or two as two of 64 bits."""


@compiled_as(int2, literal=False)
def _int2(value: Any) -> Any:
    if isinstance(value, types.BaseTuple):
        return lambda value: (np.int64(value[0]), np.int64(value[1]))
    return lambda value: (np.int64(value), np.int64(value))


def margins(where: str, value: Any) -> Any:
    """Any form of `padding` as `_axes.Margins`."""


@compiled_as(margins)
def _margins(where: Any, value: Any) -> Any:
    if isinstance(value_of(value), str):
        number = NAMED_PADDINGS.index(value_of(value))
        return lambda where, value: (np.int64(number), ((np.int64(0), np.int64(0)), (np.int64(0), np.int64(0))))
    if isinstance(value, types.UnicodeType):
        unknown = f"{{}}: padding must be integers or one of {', '.join(NAMED_PADDINGS)}, got '{{}}'"

        def named(where, value):
            for number in range(len(NAMED_PADDINGS)):
                if value == NAMED_PADDINGS[number]:
                    return np.int64(number), ((np.int64(0), np.int64(0)), (np.int64(0), np.int64(0)))
            raise ShapeError(unknown, where, value)

        return named
    if isinstance(value, types.BaseTuple) and isinstance(value[0], types.BaseTuple):
        return lambda where, value: (np.int64(NUMBERS), (int2(value[0]), int2(value[1])))

    def two(where, value):
        h, w = int2(value)
        return np.int64(NUMBERS), ((h, h), (w, w))

    return two
