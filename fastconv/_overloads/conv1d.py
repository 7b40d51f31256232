"""conv1d and its gradients, correlate2d and convolve2d in jitted code: convolutions of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastconv import functional
from fastconv._arguments.sizes import NAMED_PADDINGS
from fastconv._engine.products import convolve
from fastconv._overloads import kinds
from fastconv._overloads.arguments import int2, margins
from fastconv._overloads.arrays import ready, zero_of
from fastconv._overloads.conv import BIAS, convolution, gradients, sizes
from fastconv._overloads.kinds import alone, constant, ranked, value_of, whole, whole_pair
from fastconv._overloads.register import by_types, by_values, compiled_as
from fastconv._runtime.jit import jitable, linked, strict_helper
from fastconv.errors import ShapeError
from fastconv.functional.correlate import checked_mode, covers, padding_of

jitable(covers)
SHAPE, RANK = "shape (OC, C/groups, K) without a zero, got", "2 dimensions without a zero, got shape"
PLANE = ranked("2 dimensions without a zero, got {}", 2)


@strict_helper
def _check(where, name, text, a):
    if min(a.shape) < 1:
        raise ShapeError("{}: {} must have {} {}", where, name, text, a.shape)


@by_types
def across(value):
    """An integer, alone or in a tuple, as the horizontal one of two."""
    if isinstance(value, types.BaseTuple):
        return lambda value: (np.int64(1), np.int64(value[0]))
    return lambda value: (np.int64(1), np.int64(value))


def _is_name(kind: Any) -> bool:
    return isinstance(kind, types.UnicodeType) or isinstance(value_of(kind), str)


@by_values
def beside(where, padding):
    """A signal's padding as `sizes.Margins` of an image with one row."""
    if _is_name(padding):
        return lambda where, padding: margins(where, padding)
    if isinstance(padding, types.BaseTuple) and len(padding) == 1:
        return lambda where, padding: margins(where, ((0, 0), int2(padding[0])))
    return lambda where, padding: margins(where, ((0, 0), int2(padding)))


def _padding(where: str, name: str, call: kinds.Call) -> None:
    (kinds.padding if _is_name(call[name]) else alone(whole_pair))(where, name, call)


SIGNALS = {
    "x": ranked("3 dimensions, or 2 without a batch, got {}", 2, 3),
    "weight": ranked("3 dimensions (OC, C/groups, K), got {}", 3),
    "stride": alone(whole),
    "padding": _padding,
    "dilation": alone(whole),
}


@compiled_as(functional.conv1d, bias=BIAS, **SIGNALS)
def _conv1d(x, weight, bias, stride, padding, dilation, groups):
    where, step, pads, spread = "conv1d", across(stride), beside("conv1d", padding), across(dilation)
    _check(where, "weight", SHAPE, weight)
    return convolution(where, x, weight, bias, step, pads, spread, groups, "NCL", None, "NCL", None)


@compiled_as(functional.conv1d_backward, **SIGNALS)
def _conv1d_backward(grad_output, x, weight, stride, padding, dilation, groups, needs):
    where, step, spread = "conv1d_backward", across(stride), across(dilation)
    _check(where, "weight", SHAPE, weight)
    pads = beside(where, padding)
    return gradients(where, grad_output, x, weight, step, pads, spread, groups, "NCL", needs, "NCL", None)


@strict_helper
def _slid(where, x, kernel, padding):
    none, one = (np.int64(0), np.int64(0)), np.int64(1)
    image = one, one, np.int64(x.shape[0]), np.int64(x.shape[1])
    weight = one, one, np.int64(kernel.shape[0]), np.int64(kernel.shape[1])
    conv, shape = sizes(where, image, weight, np.int64(-1), (one, one), (padding, (none, none)), (one, one), one)
    y = np.empty(shape, x.dtype)
    convolve(where, conv, False, x.reshape(image), kernel.reshape(weight), np.empty(0, x.dtype), y)
    return y[0, 0]


@strict_helper
def _flipped(a):
    return np.ascontiguousarray(a[::-1, ::-1])


@linked
def slide(where, x, kernel, padding, valid, flips):
    """The kernel slid over x, flipped where `flips`; where `valid`, the smaller of the two over the larger."""
    _check(where, "x", RANK, x)
    _check(where, "kernel", RANK, kernel)
    swaps = valid and covers(kernel, x)
    a, b = (kernel, x) if swaps else (x, kernel)
    if flips:
        return _slid(where, a, _flipped(b), padding)
    return _flipped(_slid(where, a, b, padding)) if swaps else _slid(where, a, b, padding)


@by_values
def way(mode, flips):
    """The number of the padding that a mode stands for, and whether that is "valid"."""
    name = padding_of(value_of(mode), value_of(flips))
    padding, valid = np.int64(NAMED_PADDINGS.index(name)), name == "valid"
    return lambda mode, flips: (padding, valid)


def _register(function: Callable, flips: bool) -> None:
    where = function.__name__

    @compiled_as(function, x=PLANE, kernel=PLANE, mode=constant(checked_mode))
    def compiled(x, kernel, mode):
        zero, (padding, valid) = zero_of(x, kernel), way(mode, flips)
        return slide(where, ready(x, zero), ready(kernel, zero), padding, valid, flips)


_register(functional.correlate2d, False)
_register(functional.convolve2d, True)
