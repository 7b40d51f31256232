"""Arguments that are not arrays, as the engine takes them."""

from __future__ import annotations

import math

import numpy as np
from numba import types

from fastconv._arguments.scalars import LARGEST, check_limits, limits
from fastconv._arguments.sizes import NAMED_PADDINGS, NUMBERS
from fastconv._overloads.kinds import value_of
from fastconv._overloads.register import by_types, by_values, text
from fastconv.errors import ShapeError

# of numbers that are more than finite
LIMITS = {"eps": (0.0, LARGEST), "p": (0.0, 1.0), "momentum": (0.0, 1.0), "label_smoothing": (0.0, 1.0)}


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
        number = NAMED_PADDINGS.index(value_of(padding))
        return lambda where, padding: (np.int64(number), ((np.int64(0), np.int64(0)), (np.int64(0), np.int64(0))))
    if isinstance(padding, types.UnicodeType):
        unknown = f"{{}}: padding must be integers or one of {', '.join(NAMED_PADDINGS)}, got '{{}}'"

        def named(where, padding):
            for number in range(len(NAMED_PADDINGS)):
                if padding == NAMED_PADDINGS[number]:
                    return np.int64(number), ((np.int64(0), np.int64(0)), (np.int64(0), np.int64(0)))
            raise ShapeError(unknown, where, padding)

        return named
    if isinstance(padding, types.BaseTuple) and isinstance(padding[0], types.BaseTuple):
        return lambda where, padding: (np.int64(NUMBERS), (int2(padding[0]), int2(padding[1])))

    def two(where, padding):
        h, w = int2(padding)
        return np.int64(NUMBERS), ((h, h), (w, w))

    return two


@by_values
def wanted(needs):
    """Of x, weight and bias, True for those whose gradients are needed, None for others."""
    wants = tuple(bool(need) or None for need in value_of(needs) or (True, True, True))
    return lambda needs: wants
