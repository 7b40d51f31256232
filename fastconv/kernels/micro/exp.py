"""Sigmoid and tanh of many numbers in vectors: the C library's exponential takes one at a time.

Source: W. Cody and W. Waite, Software Manual for the Elementary Functions (1980), chapter 6, for the reduction; the
polynomial is Taylor's, long enough for the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from fastconv._runtime.jit import strict_helper


def _made(
    real: type, whole: type, mantissa: int, bias: int, limit: float, high: float, low: float, terms: int
) -> Callable:
    """exp(y) - 1 for a dtype.

    Args:
        real: the dtype.
        whole: integers of its size.
        mantissa: bits of its mantissa.
        bias: of its exponent.
        limit: numbers beyond count as this; 2**k is normal up to it.
        high: log(2) in so few bits that its multiples are exact.
        low: the rest of log(2).
        terms: of the polynomial.
    """
    shift, per_log = 1.5 * 2.0**mantissa, 1 / math.log(2)
    factors = tuple(1 / math.factorial(i) for i in range(terms + 1))

    @register_jitable
    def made(y):
        y = real(-limit) if y < real(-limit) else y
        y = real(limit) if y > real(limit) else y
        # a number that is added to this one is rounded to a whole one k, which its lowest bits hold
        shifted = y * real(per_log) + real(shift)
        k = shifted - real(shift)
        r = y - k * real(high) - k * real(low)
        total = real(factors[terms])
        for i in range(terms - 1, 0, -1):
            total = total * r + real(factors[i])
        bits = real(shifted).view(whole)
        power = whole((bits + bias) << mantissa).view(real)
        # exp(y) = 2**k * exp(r); exact near 0, where k is 0
        return power * (total * r) + (power - real(1))

    return made


_FLOAT32 = _made(np.float32, np.int32, 23, 127, 87.0, 0.693359375, -2.1219444005469058e-4, 8)
_FLOAT64 = _made(np.float64, np.int64, 52, 1023, 708.0, 0.6931471803691238, 1.9082149292705877e-10, 14)


def expm1(y: float) -> float:
    """For kernels: exp(y) - 1 within three units in the last place, of y no further from 0 than the dtype's limit."""
    return math.expm1(y)


@overload(expm1, inline="always")
def _expm1(y):
    made = _FLOAT32 if y == types.float32 else _FLOAT64
    return lambda y: made(y)


@strict_helper
def sigmoid(a, start, n):
    """a[start : start + n] = 1 / (1 + exp(-a)) of it. Precondition: flat float32 or float64."""
    one = a.dtype.type(1)
    for i in range(np.uint64(start), np.uint64(start + n)):
        a[i] = one / (one + one + expm1(-a[i]))


@strict_helper
def tanh(a, start, n):
    """a[start : start + n] = tanh of it. Precondition: flat float32 or float64."""
    two = a.dtype.type(2)
    for i in range(np.uint64(start), np.uint64(start + n)):
        power = expm1(two * a[i])
        a[i] = power / (power + two)
