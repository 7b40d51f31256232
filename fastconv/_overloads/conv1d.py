"""conv1d and its gradients, correlate2d and convolve2d in jitted code: convolutions of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.sizes import NAMED_PADDINGS
from fastconv._engine.products import convolve
from fastconv._overloads import arguments
from fastconv._overloads.arguments import int2, known, margins, value_of
from fastconv._overloads.arrays import reader
from fastconv._overloads.conv import NOTHING, backward_of, forward_of, sizes
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import jitable, linked, strict_helper
from fastconv.errors import ShapeError
from fastconv.functional.correlate import checked_mode, covers, padding_of

jitable(covers)
RANK = "2 dimensions without a zero, got shape"


@strict_helper
def _check(where, name, text, a):
    if min(a.shape) < 1:
        raise ShapeError("{}: {} must have {} {}", where, name, text, a.shape)


def _alone(kind: Any) -> bool:
    """Whether the argument is a tuple of one."""
    return isinstance(kind, types.BaseTuple) and len(kind) == 1


def _step(where: str, name: str, kind: Any) -> Any:
    """The function that gives an integer, alone or in a tuple, as the horizontal one of two."""
    arguments.whole(where, name, kind[0] if _alone(kind) else kind)
    one = np.int64(1)
    return register_jitable((lambda v: (one, np.int64(v[0]))) if _alone(kind) else (lambda v: (one, np.int64(v))))


def _pads(where: str, kind: Any) -> Any:
    """The function that gives a signal's padding as `sizes.Margins` of an image with one row."""
    if isinstance(kind, types.UnicodeType) or isinstance(value_of(kind), str):
        arguments.some_padding(where, kind)
        return register_jitable(lambda padding: margins(where, padding))
    arguments.whole_pair(where, "padding", kind[0] if _alone(kind) else kind)
    alone = lambda padding: margins(where, ((0, 0), int2(padding[0])))  # noqa: E731
    return register_jitable(alone if _alone(kind) else (lambda padding: margins(where, ((0, 0), int2(padding)))))


def _signals(where: str, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    """The function that gives the steps and margins of images, after checking the types and the weight's shape."""
    if arguments.array(where, "x", x).ndim not in (2, 3):
        raise ShapeError(f"{where}: x must have 3 dimensions, or 2 without a batch, got {x.ndim}")
    arguments.rank(where, "weight", arguments.array(where, "weight", weight), 3, "(OC, C/groups, K)")
    arguments.whole(where, "groups", groups)
    step, pads, spacing = _step(where, "stride", stride), _pads(where, padding), _step(where, "dilation", dilation)

    def options(weight, stride, padding, dilation):
        _check(where, "weight", "shape (OC, C/groups, K) without a zero, got", weight)
        return (step(stride), NOTHING, spacing(dilation)), pads(padding)

    return register_jitable(options)


@compiled_as(functional.conv1d)
def _conv1d(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    options = _signals("conv1d", x, weight, stride, padding, dilation, groups)
    convolution = forward_of("conv1d", x, weight, bias, "NCL", None)

    def compiled(x, weight, bias, stride, padding, dilation, groups):
        steps, pads = options(weight, stride, padding, dilation)
        return convolution(x, weight, bias, steps, pads, np.int64(groups), None)

    return compiled


@compiled_as(functional.conv1d_backward)
def _conv1d_backward(
    grad_output: Any, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any, needs: Any
) -> Any:
    options = _signals("conv1d_backward", x, weight, stride, padding, dilation, groups)
    gradients = backward_of("conv1d_backward", grad_output, x, weight, "NCL", needs)

    def compiled(grad_output, x, weight, stride, padding, dilation, groups, needs):
        steps, pads = options(weight, stride, padding, dilation)
        return gradients(grad_output, x, weight, steps, pads, np.int64(groups))

    return compiled


@strict_helper
def _slid(where, x, kernel, padding):
    none, one = (np.int64(0), np.int64(0)), np.int64(1)
    image = one, one, np.int64(x.shape[0]), np.int64(x.shape[1])
    weight = one, one, np.int64(kernel.shape[0]), np.int64(kernel.shape[1])
    conv = sizes(where, image, weight, np.int64(-1), ((one, one), none, (one, one)), (padding, (none, none)), one)
    y = np.empty((1, 1, conv.rows.out, conv.columns.out), x.dtype)
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
