"""Kinds of arguments: what Numba says of them, checked as Python would check their values.

A kind is a function of the public function's name, the argument's name, and the types of all arguments by their names
(or the values of those that are left out). It raises what Python raises unless the type is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numba.core.errors import NumbaError
from numba.np.numpy_support import as_dtype

from fastconv._arguments import arrays
from fastconv._arguments.sizes import integer, layout_argument, padding_argument, pair, sizes
from fastconv.errors import DTypeError, ShapeError

Call: TypeAlias = Mapping[str, Any]
Kind: TypeAlias = Callable[[str, str, Call], Any]

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


class Shown:
    """Stands for a value of a type, in Python's own checks and their errors, which show it if it is known."""

    def __init__(self, kind: Any):
        self._kind = kind

    def __repr__(self) -> str:
        value = value_of(self._kind)
        return f"a value of type {self._kind}" if value is UNKNOWN else repr(value)


class _Whole(Shown, int):
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
    return Shown(kind) if value is UNKNOWN else value


def _sample_array(kind: types.Array) -> np.ndarray:
    try:
        return np.empty(0, as_dtype(kind.dtype))
    except (NumbaError, NotImplementedError):
        return np.empty(0, object)


def result_dtype(*kinds: Any) -> np.dtype:
    """The dtype of a result of arrays of these types, None for one that is not given."""
    return arrays.result_dtype(*(None if is_none(kind) else _sample_array(kind) for kind in kinds))


def array(where: str, name: str, call: Call) -> None:
    """An array of a dtype that fastconv computes with."""
    kind = call[name]
    if not isinstance(kind, types.Array):
        found = type(kind).__name__ if not isinstance(kind, types.Type) else kind
        raise DTypeError(f"{where}: {name} must be a NumPy array, got {found}")
    arrays.numeric(where, name, _sample_array(kind))
    if kind.dtype == types.float16:
        raise DTypeError(f"{where}: {name} must not be float16 inside jitted code")


def ranked(text: str, *ranks: int) -> Kind:
    """An array of so many dimensions, or a ShapeError that says that it must have `text`."""

    def check(where: str, name: str, call: Call) -> None:
        array(where, name, call)
        if call[name].ndim not in ranks:
            raise ShapeError(f"{where}: {name} must have {text.format(call[name].ndim)}")

    return check


def optional(kind: Kind) -> Kind:
    """What `kind` takes, or None."""
    return lambda where, name, call: None if is_none(call[name]) else kind(where, name, call)


def like(other: str, meaning: str = "") -> Kind:
    """An array of as many dimensions as another."""

    def check(where: str, name: str, call: Call) -> None:
        array(where, other, call)
        ndim = call[other].ndim
        ranked(f"{ndim} dimensions{meaning}, got {{}}", ndim)(where, name, call)

    return check


images = ranked("4 dimensions, or 3 without a batch, got {}", 3, 4)


def _gradient(where: str, name: str, call: Call) -> None:
    (like("x") if "x" in call else images)(where, name, call)


def _indices(where: str, name: str, call: Call) -> None:
    array(where, name, call)
    if not isinstance(call[name].dtype, types.Integer):
        raise DTypeError(f"{where}: {name} must be integers, got {call[name].dtype}")
    like(next(iter(call)))(where, name, call)


def sized(*ranks: int) -> Kind:
    """A tuple of so many integers, or of as many as the first argument has dimensions."""
    return lambda where, name, call: sizes(where, name, sample(call[name]), ranks or (next(iter(call.values())).ndim,))


def whole(where: str, name: str, call: Call) -> None:
    """An integer."""
    integer(where, name, sample(call[name]))


def whole_pair(where: str, name: str, call: Call) -> None:
    """One integer or a tuple of two."""
    kind = call[name]
    if isinstance(kind, types.BaseTuple) and len(kind) != 2:
        raise ShapeError(f"{where}: {name} must be one integer or two, got {Shown(kind)!r}")
    pair(where, name, sample(kind))


def alone(kind: Kind) -> Kind:
    """What `kind` takes, or that in a tuple of one."""

    def check(where: str, name: str, call: Call) -> None:
        given = call[name]
        kind(where, name, {name: given[0] if isinstance(given, types.BaseTuple) and len(given) == 1 else given})

    return check


def padding(where: str, name: str, call: Call) -> None:
    """One of the forms of a padding."""
    if not isinstance(call[name], types.UnicodeType):
        padding_argument(where, sample(call[name]))


def _flag(where: str, name: str, call: Call) -> None:
    kind = call[name]
    if not isinstance(kind, types.Boolean | types.BooleanLiteral) and not isinstance(value_of(kind), bool):
        raise TypeError(f"{where}: {name} must be True or False, got {Shown(kind)!r}")


def _number(where: str, name: str, call: Call) -> None:
    kind, value = call[name], value_of(call[name])
    ordinary = isinstance(kind, types.Integer | types.Float) if value is UNKNOWN else isinstance(value, int | float)
    if not ordinary or isinstance(value, bool):
        raise TypeError(f"{where}: {name} must be a number, got {Shown(kind)!r}")


def constant(check: Callable[[str, Any], Any]) -> Kind:
    """A value that is known when the function is compiled, and that `check` takes."""

    def checked(where: str, name: str, call: Call) -> Any:
        kind, value = call[name], value_of(call[name])
        if value is UNKNOWN:
            raise TypeError(f"{where}: {name} must be a constant inside jitted code, got a variable of type {kind}")
        return check(where, value)

    return checked


def _needs(where: str, value: Any) -> None:
    if not isinstance(value, tuple) or len(value) != 3:
        raise ValueError(f"{where}: needs must be three booleans (x, weight, bias), got {value!r}")


# what an argument of a name is, unless one function says otherwise; `out` is checked against the result's type
KINDS: dict[str, Kind] = {
    "x": images, "grad_output": _gradient, "indices": _indices, "y": array, "out": lambda *_: None,
    "input_shape": sized(), "output_shape": sized(),
    "stride": whole_pair, "dilation": whole_pair, "output_padding": whole_pair, "kernel_size": whole_pair,
    "padding": padding, "groups": whole, "axis": whole, "size": whole, "divisor_override": optional(whole),
    "training": _flag, "ceil_mode": _flag, "count_include_pad": _flag,
    "p": _number, "eps": _number, "momentum": _number, "negative_slope": _number, "label_smoothing": _number,
    "alpha": _number, "beta": _number, "k": _number,
    "layout": constant(layout_argument), "needs": constant(_needs),
}  # fmt: skip
