"""Arguments as the engine takes them, and arrays for results: what `_arguments` does in Python, by types."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import as_dtype

from fastconv._arguments.arrays import check_memory, empty, same_shape
from fastconv._arguments.scalars import LARGEST, check_limits, limits
from fastconv._arguments.sizes import NAMED_PADDINGS, NUMBERS
from fastconv._overloads.kinds import UNKNOWN, is_none, result_dtype, value_of
from fastconv._overloads.register import by_types, by_values, text
from fastconv._runtime.jit import jitable, linked, overloaded, strict_helper
from fastconv._runtime.threads import threads_here
from fastconv.errors import DTypeError, ShapeError

# of numbers that are more than finite
LIMITS = {"eps": (0.0, LARGEST), "p": (0.0, 1.0), "momentum": (0.0, 1.0), "label_smoothing": (0.0, 1.0)}
NO_PADS = (np.int64(0), np.int64(0)), (np.int64(0), np.int64(0))


@by_values
def number(where, name, value):
    """The number as a float, if it is in its limits."""
    least, most = LIMITS.get(value_of(name), (-LARGEST, LARGEST))
    said = limits(least, most, math.inf)

    def checked(where, name, value):
        check_limits(where, name, value, least, most, math.inf, said)
        return np.float64(value)

    return checked


@by_types
def int2(value):
    """One integer or two as two of 64 bits."""
    if isinstance(value, types.BaseTuple):
        return lambda value: (np.int64(value[0]), np.int64(value[1]))
    return lambda value: (np.int64(value), np.int64(value))


@text
def int4(sizes):
    """Four integers as those of 64 bits."""
    return np.int64(sizes[0]), np.int64(sizes[1]), np.int64(sizes[2]), np.int64(sizes[3])


@by_values
def margins(where, padding):
    """Any form of `padding` as `sizes.Margins`."""
    if isinstance(value_of(padding), str):
        number = np.int64(NAMED_PADDINGS.index(value_of(padding)))
        return lambda where, padding: (number, NO_PADS)
    if isinstance(padding, types.UnicodeType):
        unknown = f"{{}}: padding must be integers or one of {', '.join(NAMED_PADDINGS)}, got '{{}}'"

        def named(where, padding):
            for number in range(len(NAMED_PADDINGS)):
                if padding == NAMED_PADDINGS[number]:
                    return np.int64(number), NO_PADS
            raise ShapeError(unknown, where, padding)

        return named
    if isinstance(padding, types.BaseTuple) and isinstance(padding[0], types.BaseTuple):
        return lambda where, padding: (np.int64(NUMBERS), (int2(padding[0]), int2(padding[1])))

    def two(where, padding):
        h, w = int2(padding)
        return np.int64(NUMBERS), ((h, h), (w, w))

    return two


def needed(needs: Any) -> tuple[bool, ...]:
    """Which of the gradients of x, weight and bias are needed: all where `needs`, a constant, is left out."""
    value = value_of(needs)
    return (True, True, True) if value is UNKNOWN else tuple(map(bool, value))


def _empty(where, shape, dtype, what):
    size = as_dtype(dtype.dtype).itemsize

    def compiled(where, shape, dtype, what):
        check_memory(where, what, shape, size)
        return np.empty(shape, dtype)

    return compiled


overloaded(empty, _empty)
overloaded(threads_here, lambda: lambda: np.int64(1))


@linked
def new_array(where, shape, zero):
    """A new array of the dtype of `zero`."""
    check_memory(where, "the result", shape, np.full(0, zero).itemsize)
    return np.empty(shape, np.full(0, zero).dtype)


@linked
def reshaped(a, shape):
    """A view of an array that is contiguous."""
    return a.reshape(shape)


@by_types
def zero_of(*arrays):
    """Zero in the dtype of a result of these arrays, None for one that is not given."""
    zero = result_dtype(*arrays).type(0)
    return lambda *arrays: zero


@strict_helper
def _fill(y, x):
    """y[...] = x, element by element, for arrays of one size and any dtypes and memory layouts."""
    flat = y.reshape(-1)
    for i, value in enumerate(x.flat):
        flat[i] = value


def _is_ready(kind: types.Array, dtype: np.dtype) -> bool:
    return kind.layout == "C" and kind.mutable and kind.aligned and as_dtype(kind.dtype) == dtype


@by_types
def ready(a, zero):
    """An array as kernels take it, of the dtype of `zero`: itself, or a copy if it is not. Of None, no elements."""
    dtype = as_dtype(zero)
    element = dtype.type
    if is_none(a):
        return lambda a, zero: np.empty(0, element)
    if _is_ready(a, dtype):
        return lambda a, zero: a

    def copied(a, zero):
        found = np.empty(a.shape, element)
        _fill(found, a)
        return found

    return copied


@text
def per_channel(where, name, numbers, C, missing):
    """Numbers for each of C channels in the dtype of `missing`, which stands for each where there are none."""
    if numbers is None:
        return np.full(C, missing)
    same_shape(where, name, numbers, (C,))
    return ready(numbers, missing)


@by_values
def result(where, shape, zero, out, a, b, c):
    """The array of this shape, and of the dtype of `zero`, that a result is written to: `out` itself, or a new one.

    `out` must lie apart from the inputs a, b and c, None where there are fewer.
    """
    if is_none(out):
        return lambda where, shape, zero, out, a, b, c: new_array(where, shape, zero)
    _check_out(value_of(where), out, as_dtype(zero), len(shape))

    def checked(where, shape, zero, out, a, b, c):
        same_shape(where, "out", out, shape)
        _check_apart(where, out, a)
        _check_apart(where, out, b)
        _check_apart(where, out, c)
        return out

    return checked


def _check_out(where: str, out: types.Type, dtype: np.dtype, ndim: int) -> None:
    if not isinstance(out, types.Array):
        raise DTypeError(f"{where}: out must be a NumPy array, got {out}")
    if out.ndim != ndim:
        raise ShapeError(f"{where}: out must have {ndim} dimensions, got {out.ndim}")
    if as_dtype(out.dtype) != dtype:
        raise DTypeError(f"{where}: out must have dtype {dtype}, got {out.dtype}")
    if not _is_ready(out, dtype):
        raise ValueError(f"{where}: out must be writeable, C-contiguous and aligned")


@jitable
def _check_apart(where, out, a):
    if a is not None:
        (first, last), (begin, end) = _reach(out), _reach(a)
        if begin < last and first < end:
            raise ShapeError("{}: out must not share memory with an input", where)


@strict_helper
def _reach(a):
    """The addresses of the first byte of an array and of the first behind it, (0, 0) if it has no elements."""
    low = high = np.int64(a.ctypes.data)
    for i in range(a.ndim):
        if a.shape[i] == 0:
            return np.int64(0), np.int64(0)
        low += min((a.shape[i] - 1) * a.strides[i], 0)
        high += max((a.shape[i] - 1) * a.strides[i], 0)
    return low, high + a.itemsize


@jitable
def _nothing(where, shape, zero):
    return None


@by_values
def new_gradients(where, needs, x_shape, weight_shape, biases, zero):
    """New arrays for the gradients of x, weight and bias that are needed, None for others."""
    of_x, of_weight, of_bias = (new_array if need else _nothing for need in needed(needs))
    return lambda where, needs, x_shape, weight_shape, biases, zero: (
        of_x(where, x_shape, zero), of_weight(where, weight_shape, zero), of_bias(where, (biases,), zero)
    )  # fmt: skip
