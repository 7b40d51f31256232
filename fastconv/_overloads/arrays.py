"""Arrays on their way into kernels and back: what `_arguments.arrays` does, by the types of a call.

The functions that are made here become part of the user's function; each is made once for its arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload, register_jitable
from numba.np.numpy_support import as_dtype

from fastconv._arguments.arrays import check_memory, empty, same_shape
from fastconv._engine.planes import channels_first, to_channels_last
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import STRICT, linked, strict_helper
from fastconv._runtime.threads import threads_here
from fastconv.errors import DTypeError, ShapeError


@overload(empty, jit_options=STRICT)
def _empty(where, shape, dtype, what):
    size = as_dtype(dtype.dtype).itemsize

    def compiled(where, shape, dtype, what):
        check_memory(where, what, shape, size)
        return np.empty(shape, dtype)

    return compiled


@overload(threads_here)
def _threads_here():
    return lambda: np.int64(1)


@linked
def new_array(where, shape, zero):
    """A new array of the dtype of `zero`."""
    check_memory(where, "the result", shape, np.full(0, zero).itemsize)
    return np.empty(shape, np.full(0, zero).dtype)


@linked
def reshaped(a, shape):
    """A view of an array that is contiguous."""
    return a.reshape(shape)


@strict_helper
def _fill(y, x):
    """y[...] = x, element by element, for arrays of one size and any dtypes and memory layouts."""
    flat = y.reshape(-1)
    for i, value in enumerate(x.flat):
        flat[i] = value


def is_ready(kind: types.Array, dtype: np.dtype) -> bool:
    """Whether kernels take arrays of this type as they are."""
    return kind.layout == "C" and kind.mutable and kind.aligned and as_dtype(kind.dtype) == dtype


@functools.cache
def reader(kind: types.Array, dtype: np.dtype) -> Callable:
    """The function that gives an array of this type as kernels take it: itself, or a copy if it is not."""
    element = dtype.type

    def copied(a):
        result = np.empty(a.shape, element)
        _fill(result, a)
        return result

    return register_jitable((lambda a: a) if is_ready(kind, dtype) else copied)


@functools.cache
def flat_reader(kind: types.Array, dtype: np.dtype) -> Callable:
    """As `reader`, and flat."""
    read = reader(kind, dtype)
    return read if kind.ndim == 1 else register_jitable(lambda a: read(a).reshape(-1))


class Form(NamedTuple):
    """How a caller has images, with a batch or without, or signals; functions of shapes.

    Attributes:
        sizes: of a shape, (N, C, H, W).
        shape: of (N, C, H, W), the caller's shape.
        batched: of the caller's shape, the one with all four axes in the same order.
        moved: whether channels are last.
    """

    sizes: Callable
    shape: Callable
    batched: Callable
    moved: bool


# signals are images of one row
FORMS: dict[tuple[str, int], tuple[Callable, Callable, Callable]] = {
    ("NCHW", 4): (lambda s: s, lambda s: s, lambda s: s),
    ("NCHW", 3): (lambda s: (1, *s), lambda s: (s[1], s[2], s[3]), lambda s: (1, *s)),
    ("NHWC", 4): (lambda s: (s[0], s[3], s[1], s[2]), lambda s: (s[0], s[2], s[3], s[1]), lambda s: s),
    ("NHWC", 3): (lambda s: (1, s[2], s[0], s[1]), lambda s: (s[2], s[3], s[1]), lambda s: (1, *s)),
    ("NCL", 3): (lambda s: (s[0], s[1], 1, s[2]), lambda s: (s[0], s[1], s[3]), lambda s: (s[0], s[1], 1, s[2])),
    ("NCL", 2): (lambda s: (1, s[0], 1, s[1]), lambda s: (s[1], s[3]), lambda s: (1, s[0], 1, s[1])),
}


@functools.cache
def form_of(ndim: int, layout: str = "NCHW") -> Form:
    """How a caller has images of `ndim` dimensions."""
    sizes, shape, batched = map(register_jitable, FORMS[layout, ndim])
    return Form(sizes, shape, batched, layout == "NHWC")


def sizes_of(ndim: int, layout: str = "NCHW") -> Callable:
    """The function that gives (N, C, H, W) of the shape of images."""
    return form_of(ndim, layout).sizes


def shape_of(ndim: int, layout: str = "NCHW") -> Callable:
    """The function that gives the shape of images, with a batch or without, of (N, C, H, W)."""
    return form_of(ndim, layout).shape


@functools.cache
def batch_reader(kind: types.Array, dtype: np.dtype, layout: str = "NCHW") -> Callable:
    """The function that gives images of this type with all four axes, in their own order, for kernels."""
    read, batched = reader(kind, dtype), form_of(kind.ndim, layout).batched
    return read if kind.ndim == 4 else register_jitable(lambda a: reshaped(read(a), batched(a.shape)))


@functools.cache
def images_reader(kind: types.Array, dtype: np.dtype, layout: str = "NCHW") -> Callable:
    """The function that gives images of this type as (N, C, H, W) for kernels, copied only if they are not."""
    read = batch_reader(kind, dtype, layout)
    return register_jitable(lambda a: channels_first("", read(a))) if layout == "NHWC" else read


def check_out(where: str, out: Any, dtype: np.dtype, ndim: int) -> bool:
    """Whether `out` was given; an error unless it is None or an array of a type that can be the result."""
    if not isinstance(out, types.Type) or isinstance(out, types.NoneType | types.Omitted):
        return False
    if not isinstance(out, types.Array):
        raise DTypeError(f"{where}: out must be a NumPy array, got {out}")
    if out.ndim != ndim:
        raise ShapeError(f"{where}: out must have {ndim} dimensions, got {out.ndim}")
    if as_dtype(out.dtype) != dtype:
        raise DTypeError(f"{where}: out must have dtype {dtype}, got {out.dtype}")
    if not is_ready(out, dtype):
        raise ValueError(f"{where}: out must be writeable, C-contiguous and aligned")
    return True


@functools.cache
def result(dtype: np.dtype, given: bool) -> Callable:
    """The function that gives the array of the caller's shape that a result is written to: `out` itself, or a new one.

    It takes where, the shape, `out`, and three inputs that `out` must lie apart from, None where there are fewer.
    """
    zero = dtype.type(0)
    if not given:
        return register_jitable(lambda where, shape, out, a, b, c: new_array(where, shape, zero))

    def checked(where, shape, out, a, b, c):
        check_given(where, shape, out, (reach(a), reach(b), reach(c)))
        return out

    return register_jitable(checked)


@functools.cache
def target(dtype: np.dtype, ndim: int, layout: str = "NCHW", given: bool = False) -> Callable:
    """As `result`, of an array (N, C, H, W) to compute in, for a shape in that order, which `delivery` follows."""
    final, zero, own = form_of(ndim, layout).shape, dtype.type(0), result(dtype, given)
    if not given or layout == "NHWC":

        def new(where, shape, out, a, b, c):
            own(where, final(shape), out, a, b, c)
            return new_array(where, shape, zero)

        return register_jitable(new if given else lambda where, shape, out, a, b, c: new_array(where, shape, zero))
    return register_jitable(lambda where, shape, out, a, b, c: reshaped(own(where, final(shape), out, a, b, c), shape))


@functools.cache
def delivery(ndim: int, layout: str = "NCHW", given: bool = False) -> Callable:
    """The function that gives the result, in `out` where it was given, of what was computed in `target`."""
    form = form_of(ndim, layout)
    batched, shape = form.batched, form.shape
    if given:

        def filled(found, out):
            to_channels_last(found, reshaped(out, batched(out.shape)))
            return out

        return register_jitable(filled if layout == "NHWC" else lambda found, out: out)
    if layout != "NHWC":
        return register_jitable((lambda found, out: found) if ndim == 4 else (lambda found, out: found[0]))

    def moved(found, out):
        y = np.empty(shape(found.shape), found.dtype)
        to_channels_last(found, reshaped(y, batched(y.shape)))
        return y

    return register_jitable(moved)


@register_jitable
def check_given(where, shape, out, inputs):
    """Raise a ShapeError unless `out` has the shape and lies apart from all inputs, given by their `reach`."""
    same_shape(where, "out", out, shape)
    first, last = reach(out)
    for i in range(len(inputs)):
        if inputs[i][0] < last and first < inputs[i][1]:
            raise ShapeError("{}: out must not share memory with an input", where)


def reach(a: Any) -> Any:
    """The addresses of the first byte of an array and of the first behind it; (0, 0) for None."""


@compiled_as(reach, literal=False)
def _reach(a: Any) -> Any:
    if not isinstance(a, types.Array):
        return lambda a: (0, 0)
    return lambda a: _reach_of(a)


@strict_helper
def _reach_of(a):
    low = high = np.int64(a.ctypes.data)
    for i in range(a.ndim):
        if a.shape[i] == 0:
            return np.int64(0), np.int64(0)
        low += min((a.shape[i] - 1) * a.strides[i], 0)
        high += max((a.shape[i] - 1) * a.strides[i], 0)
    return low, high + a.itemsize
