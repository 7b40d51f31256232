"""correlate2d and convolve2d in jitted code: convolutions of one image with one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.sizes import NAMED_PADDINGS
from fastconv._overloads import arguments
from fastconv._overloads.arguments import known
from fastconv._overloads.arrays import reader
from fastconv._overloads.conv import convolve, sizes
from fastconv._overloads.register import STRICT, compiled_as
from fastconv._runtime.jit import linked, strict_helper
from fastconv.errors import ShapeError
from fastconv.functional.correlate import checked_mode, covers, padding_of

register_jitable(**STRICT)(covers)


@strict_helper
def _check(where, name, a):
    if min(a.shape) < 1:
        raise ShapeError("{}: {} must have 2 dimensions without a zero, got shape {}", where, name, a.shape)


@strict_helper
def _slid(where, x, kernel, padding):
    none, one = (np.int64(0), np.int64(0)), np.int64(1)
    image = one, one, np.int64(x.shape[0]), np.int64(x.shape[1])
    weight = one, one, np.int64(kernel.shape[0]), np.int64(kernel.shape[1])
    conv = sizes(where, image, weight, np.int64(-1), (one, one), (padding, (none, none)), (one, one), one)
    y = np.empty((1, 1, conv.rows.out, conv.columns.out), x.dtype)
    convolve(where, conv, False, x.reshape(image), kernel.reshape(weight), np.empty(0, x.dtype), y)
    return y[0, 0]


@strict_helper
def _turned(a):
    return np.ascontiguousarray(a[::-1, ::-1])


@linked
def slide(where, x, kernel, padding, valid, flips):
    """The kernel slid over x, flipped where `flips`; where `valid`, the smaller of the two over the larger."""
    _check(where, "x", x)
    _check(where, "kernel", kernel)
    swaps = valid and covers(kernel, x)
    a, b = (kernel, x) if swaps else (x, kernel)
    if flips:
        return _slid(where, a, _turned(b), padding)
    return _turned(_slid(where, a, b, padding)) if swaps else _slid(where, a, b, padding)


def _register(function: Callable, flips: bool) -> None:
    where = function.__name__

    @compiled_as(function)
    def make(x: Any, kernel: Any, mode: Any) -> Any:
        for name, kind in (("x", x), ("kernel", kernel)):
            arguments.rank(where, name, arguments.array(where, name, kind), 2, "without a zero")
        way = checked_mode(where, known(where, "mode", mode))
        padding, valid = np.int64(NAMED_PADDINGS.index(padding_of(way, flips))), way == "valid"
        dtype = arguments.result_dtype(x, kernel)
        read_x, read_kernel = reader(x, dtype), reader(kernel, dtype)
        return lambda x, kernel, mode: slide(where, read_x(x), read_kernel(kernel), padding, valid, flips)


_register(functional.correlate2d, False)
_register(functional.convolve2d, True)
