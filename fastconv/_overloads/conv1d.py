"""conv1d and its gradients in jitted code: those of conv2d for images with one row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._overloads import arguments
from fastconv._overloads.arguments import int2, margins, value_of
from fastconv._overloads.arrays import if_array, new_images, ordered, reader
from fastconv._overloads.conv import bias_reader, convolve, sizes
from fastconv._overloads.conv_backward import gradients_of, wanted
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked, strict_helper
from fastconv.errors import ShapeError


@linked
def one_row(a):
    """a (N, C, L) as (N, C, 1, L)."""
    return a.reshape((a.shape[0], a.shape[1], 1, a.shape[2]))


@linked
def without_row(a):
    """a (N, C, 1, L) as (N, C, L)."""
    return a.reshape((a.shape[0], a.shape[1], a.shape[3]))


@strict_helper
def _check_weight(where, weight):
    if min(weight.shape) < 1:
        raise ShapeError("{}: weight must have shape (OC, C/groups, K) without a zero, got {}", where, weight.shape)


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


def _signals(ndim: int) -> tuple[Any, Any, Any]:
    """The functions for signals with a batch or without: their shape as images', the shape back, (N, C, L) back."""
    full: Any = (lambda s: (s[0], s[1], 1, s[2])) if ndim == 3 else (lambda s: (1, s[0], 1, s[1]))
    back: Any = (lambda s: (s[0], s[1], s[3])) if ndim == 3 else (lambda s: (s[1], s[3]))
    last: Any = (lambda a: a) if ndim == 3 else (lambda a: a[0])
    return register_jitable(full), register_jitable(back), register_jitable(last)


def _rows_reader(kind: types.Array, dtype: np.dtype) -> Any:
    """The function that gives signals as images with one row for kernels."""
    read = reader(kind, dtype)
    if kind.ndim == 3:
        return register_jitable(lambda a: one_row(read(a)))
    return register_jitable(lambda a: read(a).reshape((1, a.shape[0], 1, a.shape[1])))


def _checked(where: str, x: Any, weight: Any, groups: Any) -> None:
    if arguments.array(where, "x", x).ndim not in (2, 3):
        raise ShapeError(f"{where}: x must have 3 dimensions, or 2 without a batch, got {x.ndim}")
    arguments.rank(where, "weight", arguments.array(where, "weight", weight), 3, "(OC, C/groups, K)")
    arguments.whole(where, "groups", groups)


@compiled_as(functional.conv1d)
def _conv1d(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    where = "conv1d"
    _checked(where, x, weight, groups)
    step, pads, spacing = _step(where, "stride", stride), _pads(where, padding), _step(where, "dilation", dilation)
    dtype = arguments.result_dtype(x, weight, arguments.optional_array(where, "bias", bias))
    biases, read_bias = bias_reader(where, bias, dtype)
    (full, _, last), (kernel, _, _) = _signals(x.ndim), _signals(3)
    read_x, read_weight, zero = _rows_reader(x, dtype), _rows_reader(weight, dtype), dtype.type(0)
    shape = ordered("NCHW")

    def compiled(x, weight, bias, stride, padding, dilation, groups):
        _check_weight(where, weight)
        image = full(x.shape)
        conv = sizes(
            where, image, kernel(weight.shape), biases(bias), step(stride), pads(padding), spacing(dilation),
            np.int64(groups),
        )  # fmt: skip
        y = new_images(where, shape(image[0], conv), zero)
        convolve(where, conv, False, read_x(x), read_weight(weight), read_bias(bias), y)
        return last(without_row(y))

    return compiled


@compiled_as(functional.conv1d_backward)
def _conv1d_backward(
    grad_output: Any, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any, needs: Any
) -> Any:
    where = "conv1d_backward"
    wants = wanted(where, needs)
    _checked(where, x, weight, groups)
    arguments.gradient(where, grad_output, x.ndim)
    step, pads, spacing = _step(where, "stride", stride), _pads(where, padding), _step(where, "dilation", dilation)
    dtype = arguments.result_dtype(x, weight, grad_output)
    (full, back, last), (kernel, _, _) = _signals(x.ndim), _signals(3)
    read_x, read_weight, read_g = (_rows_reader(kind, dtype) for kind in (x, weight, grad_output))
    gradients, shape = gradients_of(wants, dtype), ordered("NCHW")
    single, plain = if_array(register_jitable(lambda a: last(without_row(a)))), if_array(without_row)

    def compiled(grad_output, x, weight, stride, padding, dilation, groups, needs):
        _check_weight(where, weight)
        image = full(x.shape)
        conv = sizes(
            where, image, kernel(weight.shape), np.int64(-1), step(stride), pads(padding), spacing(dilation),
            np.int64(groups),
        )  # fmt: skip
        same_shape(where, "grad_output", grad_output, back(shape(image[0], conv)))
        found = gradients(where, conv, read_g(grad_output), read_x(x), read_weight(weight))
        return single(found[0]), plain(found[1]), found[2]

    return compiled
