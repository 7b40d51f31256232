"""Arrays on their way into kernels and back: what `_arrays` does, by the types of a call.

The functions that are made here become part of the user's function; each is made once for its arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable
from numba.np.numpy_support import as_dtype

from fastconv._arguments.arrays import check_memory, empty, same_shape
from fastconv._overloads.register import STRICT, compiled_as
from fastconv._runtime.jit import linked, strict_helper
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


@strict_helper
def _new(where, shape, like):
    check_memory(where, "the result", shape, like.itemsize)
    return np.empty(shape, like.dtype)


@linked
def new_matrix(where, shape, zero):
    """As `new_images`, of two axes."""
    return _new(where, shape, np.full(0, zero))


@linked
def new_matrices(where, shape, zero):
    """As `new_images`, of three axes."""
    return _new(where, shape, np.full(0, zero))


@linked
def new_images(where, shape, zero):
    """A new array (N, C, H, W) of the dtype of `zero`."""
    return _new(where, shape, np.full(0, zero))


@linked
def _batch_of_one(a):
    return a.reshape((1, *a.shape))


@linked
def _flattened(a):
    return a.reshape(-1)


@linked
def to_channels_last(x):
    """x (N, C, H, W) as a new array (N, H, W, C)."""
    N, C, H, W = x.shape
    y = np.empty((N, H, W, C), x.dtype)
    for n in range(N):
        for iy in range(H):
            for ix in range(W):
                for c in range(C):
                    y[n, iy, ix, c] = x[n, c, iy, ix]
    return y


@strict_helper
def _fill(y, x):
    """y[...] = x, element by element, for arrays of one size and any dtypes and memory layouts."""
    flat = y.reshape(-1)
    for i, value in enumerate(x.flat):
        flat[i] = value


@strict_helper
def _channels_first(y, x):
    """y (C, H, W) from x (H, W, C), of any dtype and memory layout."""
    C, H, W = y.shape
    for c in range(C):
        for iy in range(H):
            for ix in range(W):
                y[c, iy, ix] = x[iy, ix, c]


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
    if kind.ndim == 1:
        return read
    return register_jitable(lambda a: read(a).reshape(-1))


@functools.cache
def sizes_of(ndim: int, layout: str = "NCHW") -> Callable:
    """The function that gives (N, C, H, W) of the shape of images."""
    if layout == "NCHW":
        four, three = lambda s: s, lambda s: (1, s[0], s[1], s[2])
    else:
        four, three = lambda s: (s[0], s[3], s[1], s[2]), lambda s: (1, s[2], s[0], s[1])
    return register_jitable(four if ndim == 4 else three)


@functools.cache
def shape_of(ndim: int, layout: str = "NCHW") -> Callable:
    """The function that gives the shape of images, with a batch or without, of (N, C, H, W)."""
    if layout == "NCHW":
        four, three = lambda s: s, lambda s: (s[1], s[2], s[3])
    else:
        four, three = lambda s: (s[0], s[2], s[3], s[1]), lambda s: (s[2], s[3], s[1])
    return register_jitable(four if ndim == 4 else three)


@functools.cache
def ordered(layout: str, ndim: int = 4) -> Callable:
    """The function that gives the shape of the results of N images, with a batch or without, of a convolution."""
    shape = shape_of(ndim, layout)
    return register_jitable(lambda N, conv: shape((N, conv.OC, conv.rows.out, conv.columns.out)))


def if_array(function: Callable) -> Callable:
    """The function for compiled code that gives function(a) of an array, None of None."""

    def found(a):
        """For compiled code."""

    @overload(found)
    def _found(a):
        return (lambda a: function(a)) if isinstance(a, types.Array) else (lambda a: a)

    return found


@functools.cache
def single_of(ndim: int) -> Callable:
    """The function that gives an array with a batch, or None, as the caller has it, who has so many dimensions."""
    return if_array(register_jitable((lambda a: a[0]) if ndim == 3 else (lambda a: a)))


@functools.cache
def images_reader(kind: types.Array, dtype: np.dtype, layout: str = "NCHW") -> Callable:
    """The function that gives images of this type as (N, C, H, W) for kernels, copied only if they are not."""
    read, sizes, element = reader(kind, dtype), sizes_of(kind.ndim, layout), dtype.type
    batch = kind.ndim == 4
    if layout == "NCHW":
        return read if batch else register_jitable(lambda a: _batch_of_one(read(a)))

    def moved(a):
        result = np.empty(sizes(a.shape), element)
        for n in range(len(result)):
            _channels_first(result[n], a[n] if batch else a)
        return result

    return register_jitable(moved)


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
def target(dtype: np.dtype, ndim: int, layout: str = "NCHW", given: bool = False) -> Callable:
    """The function that gives the array (N, C, H, W) to compute in: `out` itself, checked, if that can be.

    It takes where, the shape, `out`, and three inputs that `out` must lie apart from, None where there are fewer.
    """
    final, zero = shape_of(ndim, layout), dtype.type(0)
    if not given:
        return register_jitable(lambda where, shape, out, a, b, c: new_images(where, shape, zero))

    def checked(where, shape, out, a, b, c):
        check_given(where, final(shape), out, (reach(a), reach(b), reach(c)))
        return out.reshape(shape) if layout == "NCHW" else new_images(where, shape, zero)

    return register_jitable(checked)


@functools.cache
def delivery(ndim: int, layout: str = "NCHW", given: bool = False) -> Callable:
    """The function that gives the result, in `out` where it was given, of what was computed in `target`."""
    batch = ndim == 4
    if given and layout == "NCHW":
        return register_jitable(lambda found, out: out)
    if given:

        def filled(found, out):
            _fill(out, to_channels_last(found))
            return out

        return register_jitable(filled)
    if layout == "NCHW":
        return register_jitable((lambda found, out: found) if batch else (lambda found, out: found[0]))
    whole, single = lambda found, out: to_channels_last(found), lambda found, out: to_channels_last(found)[0]
    return register_jitable(whole if batch else single)


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
