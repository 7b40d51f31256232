"""Max-pooling and average pooling: which kernel, with which windows and divisors. Images are (N, C, H, W)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._arguments.arrays import compute_dtype, empty
from fastconv._geometry.axes import Axis, counts, max_window, mean_window
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import jitable, linked, planned
from fastconv.kernels import avg_pool as mean_kernels
from fastconv.kernels import max_pool as max_kernels


def max_dtype(dtype: np.dtype) -> np.dtype:
    """What max-pooling computes in: floats as elsewhere, integers in the widest of their kind, for fewer kernels."""
    if dtype.kind == "f":
        return compute_dtype(dtype.newbyteorder("="))
    return np.dtype(np.uint64) if dtype == np.uint64 else np.dtype(np.int64)


def lowest_of(dtype: np.dtype) -> np.generic:
    """A number of this dtype than which none is less: infinite for floats."""
    return dtype.type(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min)


@jitable
def planes(images: np.ndarray) -> np.ndarray:
    """The images as (N * C, H, W)."""
    N, C, H, W = images.shape
    return images.reshape((N * C, H, W))


@jitable
def _in_vectors(rows: Axis, columns: Axis, lowest: Any) -> bool:
    """Whether pixels are floats, whose lowest number is infinite, and indices fit into lanes as wide as they."""
    return ENABLED and lowest == -np.inf and columns.stride <= 2 and rows.size * columns.size < 2**31


@linked
def max_pool(
    x: np.ndarray, rows: Axis, columns: Axis, lowest: Any, keep: bool, y: np.ndarray, indices: np.ndarray
) -> None:
    """y = the maxima of windows of x, and where `keep` their indices: of equals, and of NaNs, the first.

    `lowest` is that of x's dtype; indices that are not kept may have no elements.
    """
    window = max_window(rows, columns)
    if _in_vectors(rows, columns, lowest):
        max_kernels.forward_in_vectors(x, window, y, indices, keep)
    elif keep:
        max_kernels.forward_with_indices(x, window, y, indices)
    else:
        max_kernels.forward(x, window, lowest, y)


def prepared_max_pool(P: int, rows: Axis, columns: Axis, lowest: Any, keep: bool) -> Callable[..., None]:
    """`max_pool` of (x, y, indices), P planes of one dtype."""
    window, pixels = max_window(rows, columns), P * rows.size * columns.size
    if _in_vectors(rows, columns, lowest):
        in_vectors = max_kernels.forward_in_vectors.prepared(pixels)
        return lambda x, y, indices: in_vectors(x, window, y, indices, keep)
    if keep:
        with_indices = max_kernels.forward_with_indices.prepared(pixels)
        return lambda x, y, indices: with_indices(x, window, y, indices)
    alone = max_kernels.forward.prepared(pixels)
    return lambda x, y, indices: alone(x, window, lowest, y)


@planned
def divisors(rows: Axis, columns: Axis, include_pad: bool, override: int) -> tuple[np.ndarray, np.ndarray]:
    """What each window is divided by, as a factor of its row and one of its column: no array of the result's size.

    It is `override`, where that is not 0.
    """
    if override > 0:
        return np.full(rows.out, override, np.int64), np.ones(columns.out, np.int64)
    return counts(rows, include_pad), counts(columns, include_pad)


@linked
def avg_pool(x: np.ndarray, rows: Axis, columns: Axis, include_pad: bool, override: int, y: np.ndarray) -> None:
    """y = the means of windows of x."""
    down, across = divisors(rows, columns, include_pad, override)
    mean_kernels.forward(planes(x), mean_window(rows, columns), down, across, planes(y))


def prepared_avg_pool(P: int, rows: Axis, columns: Axis, lowest: Any) -> Callable[..., None]:
    """`avg_pool` of (x, y, include_pad, override), P planes of one dtype."""
    window, launch = mean_window(rows, columns), mean_kernels.forward.prepared(P * rows.size * columns.size)
    own = functools.cache(functools.partial(divisors, rows, columns))  # the axes are looked up for longer

    def run(x: np.ndarray, y: np.ndarray, include_pad: bool, override: int) -> None:
        launch(planes(x), window, *own(include_pad, override), planes(y))

    return run


@linked
def avg_pool_backward(
    where: str, g: np.ndarray, rows: Axis, columns: Axis, include_pad: bool, override: int
) -> np.ndarray:
    """The gradient of x: each value of g shared out over the pixels of its window."""
    N, C = g.shape[:2]
    grad = empty(where, (N, C, rows.size, columns.size), g.dtype, "grad_x")
    down, across = divisors(rows, columns, include_pad, override)
    mean_kernels.backward(planes(g), mean_window(rows, columns), down, across, planes(grad))
    return grad
