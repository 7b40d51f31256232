"""The policy for arrays: which dtypes are taken, what they are promoted to, how memory is laid out and allocated."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv._arguments import recycling
from fastconv.errors import DTypeError, ShapeError, TooLargeError

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# by type, not by kind: other packages' dtypes, as the small floats of ml_dtypes, may call themselves floats too
_NUMBERS = frozenset(np.dtype(code).type for code in "?bBhHiIlLqQefd")
_HALF = np.dtype(np.float16)


def numeric(where: str, name: str, value: Any) -> np.ndarray:
    """`value` if it is a NumPy array of booleans, integers or floats, a DTypeError otherwise; never of a subclass.

    The operators of a subclass may mean something else, and what is made of one would be one.
    """
    if type(value) is np.ndarray and value.dtype in FLOATS:
        return value
    if not isinstance(value, np.ndarray):
        raise DTypeError(f"{where}: {name} must be a NumPy array, got {type(value).__name__}")
    check_dtype(where, name, value.dtype)
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(f"{where}: {name} is a masked array, whose mask would be ignored; fill it first")
    return np.asarray(value)


def kinds_of(where: str, x: Any, weight: Any, third: Any, name: str) -> tuple[np.dtype, ...]:
    """The dtypes, still to be checked, of a layer's arrays, which are `numeric` otherwise.

    `third` is the argument `name`: the bias, which may be None, or the gradient of the result.
    """
    two = third is None and name == "bias"
    if not (type(x) is type(weight) is np.ndarray and (two or type(third) is np.ndarray)):
        for argument, value in (("x", x), ("weight", weight), (name, third))[: 2 if two else 3]:
            numeric(where, argument, value)
    return (x.dtype, weight.dtype) if two else (x.dtype, weight.dtype, third.dtype)


def check_kinds(where: str, kinds: tuple[np.dtype, ...], name: str) -> None:
    """Raise a DTypeError unless `kinds_of` has found what there are results for."""
    for argument, kind in zip(("x", "weight", name), kinds):
        check_dtype(where, argument, kind)


def check_dtype(where: str, name: str, dtype: np.dtype) -> None:
    """Raise a DTypeError unless `dtype` is of booleans, integers or floats."""
    if dtype.type not in _NUMBERS:
        raise DTypeError(
            f"{where}: {name} must have dtype float32, float64, float16, an integer dtype or bool, got {dtype}"
        )


def result_dtype(*arrays: np.ndarray | None) -> np.dtype:
    """The dtype of a result: float32 or float64 as given, mixed ones by `np.result_type`, integers with float32.

    float16 stays float16: such a call is computed in float32 and its result rounded once.
    """
    return promoted(tuple([a.dtype for a in arrays if a is not None]))


@functools.lru_cache(maxsize=1024)
def promoted(kinds: tuple[np.dtype, ...]) -> np.dtype:
    """`result_dtype` of arrays of these dtypes."""
    dtypes = set(kinds)
    if len(dtypes) == 1:
        (only,) = dtypes
        if only in FLOATS:
            return FLOATS[FLOATS.index(only)]  # native, and one object: callers compare by `is`
        if only == _HALF:
            return _HALF
    if all(dtype.kind != "f" for dtype in dtypes):
        return np.result_type(*dtypes, np.float32)
    return np.result_type(*dtypes)


def compute_dtype(dtype: np.dtype) -> np.dtype:
    """What a result of `dtype` is computed in: float32 for float16, itself otherwise."""
    return FLOATS[0] if dtype == _HALF else dtype


def ready(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` as kernels take it: of `dtype`, C-contiguous, aligned, native-endian, writeable; copied only if not.

    Kernels never write to their inputs; but Numba compiles once more for read-only arrays, and a copy is cheaper.
    """
    if array.dtype is dtype and array.flags.carray and type(array) is np.ndarray and dtype.isnative:
        return array
    # a subclass's operators may mean something else
    if array.dtype == dtype and array.dtype.isnative and array.flags.carray:
        return array if type(array) is np.ndarray else np.asarray(array)
    return np.array(array, dtype, order="C", copy=True, subok=False)


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**47


MEMORY = _memory()


def check_memory(where: str, what: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise a MemoryError that names what needs how much, if it is more than the machine has."""
    size = float(itemsize)  # not an integer: compiled, it might wrap
    for n in shape:
        size *= n
    if size > MEMORY:
        raise TooLargeError(
            "{}: {} of shape {} needs {:.3g} bytes, the machine has {:.3g}", where, what, shape, size, MEMORY
        )


def empty(where: str, shape: Sequence[int], dtype: np.dtype, what: str = "the result") -> np.ndarray:
    """A new array, or a MemoryError that names what needs how much.

    A system that overcommits would grant an absurd size and end the process when the pages are touched, so the size
    is compared with the machine's memory first.
    """
    size = dtype.itemsize * math.prod(shape)
    if size > MEMORY:
        check_memory(where, what, tuple(shape), dtype.itemsize)
    return recycling.empty(size, shape, dtype)


def maker(where: str, shape: tuple[int, ...], dtype: np.dtype, what: str = "the result") -> Callable[[], np.ndarray]:
    """`empty` of these arguments, to be called often."""
    if dtype.itemsize * math.prod(shape) < recycling.RECYCLED_FROM:
        return functools.partial(np.empty, shape, dtype)
    return functools.partial(empty, where, shape, dtype, what)


def result(where: str, shape: tuple[int, ...], dtype: np.dtype, out: Any, *inputs: np.ndarray | None) -> np.ndarray:
    """The array a result is written to: `out`, checked against everything a result must be, or a new one."""
    if out is None:
        return empty(where, shape, dtype)
    if not isinstance(out, np.ndarray):
        raise DTypeError(f"{where}: out must be a NumPy array, got {type(out).__name__}")
    out = np.asarray(out)
    if out.shape != shape:
        raise ShapeError(f"{where}: out must have shape {shape}, got {out.shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise DTypeError(f"{where}: out must have dtype {dtype}, got {out.dtype}")
    if not (out.flags.writeable and out.flags.c_contiguous and out.flags.aligned):
        raise ValueError(f"{where}: out must be writeable, C-contiguous and aligned")
    if any(a is not None and _overlap(out, np.asarray(a)) for a in inputs):
        raise ValueError(f"{where}: out must not share memory with an input")
    return out


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    try:
        return np.shares_memory(a, b, max_work=1000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def batched(where: str, name: str, array: np.ndarray) -> tuple[np.ndarray, bool]:
    """`array` with a batch axis, and whether it had none."""
    return (array[None], True) if lacks_batch(where, name, array.shape) else (array, False)


def lacks_batch(where: str, name: str, shape: tuple[int, ...]) -> bool:
    """Whether this is the shape of an image without a batch, and not of images; a ShapeError where it is of neither."""
    if len(shape) not in (3, 4):
        raise ShapeError(f"{where}: {name} must have 4 dimensions, or 3 without a batch, got shape {shape}")
    return len(shape) == 3


def same_shape(where: str, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise a ShapeError unless `array` has `shape`."""
    if array.shape != shape:
        raise ShapeError("{}: {} must have shape {}, got {}", where, name, shape, array.shape)


def channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    """A view of `array`, of 3 or 4 dimensions, with its channels before its pixels."""
    return array if layout == "NCHW" else array.transpose((0, 3, 1, 2) if array.ndim == 4 else (2, 0, 1))


def channels_as(array: np.ndarray, layout: str) -> np.ndarray:
    """A view in `layout` of an array, of 3 or 4 dimensions, in NCHW order."""
    return array if layout == "NCHW" else array.transpose((0, 2, 3, 1) if array.ndim == 4 else (1, 2, 0))


def shape_as(shape: tuple[int, int, int, int], layout: str) -> tuple[int, int, int, int]:
    """The shape in `layout` of an array whose shape in NCHW order is `shape`."""
    N, C, H, W = shape
    return shape if layout == "NCHW" else (N, H, W, C)


def shape_from(shape: tuple[int, ...], layout: str) -> tuple[int, int, int, int]:
    """The shape in NCHW order of an array of 4 dimensions whose shape in `layout` is `shape`."""
    N, *rest = shape
    C, H, W = rest if layout == "NCHW" else (rest[2], *rest[:2])
    return N, C, H, W


def gradients_in(layout: str, grads: tuple[np.ndarray | None, ...]) -> tuple[np.ndarray | None, ...]:
    """The gradients of x, weight and bias, computed in NCHW order, in `layout`."""
    grad_x, grad_weight, grad_bias = grads
    first, second = (None if a is None else channels_as(a, layout) for a in (grad_x, grad_weight))
    return first, second, grad_bias
