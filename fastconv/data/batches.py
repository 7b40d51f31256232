"""Minibatches: each sample once per pass, in order or shuffled by a generator that the caller owns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data.arguments import integer
from fastconv.errors import DTypeError, ShapeError


def minibatches(
    x: NDArray[Any],
    y: NDArray[Any],
    batch_size: int,
    rng: np.random.Generator | int | None = None,
    *,
    drop_last: bool = False,
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield ``(x_batch, y_batch)`` pairs of ``batch_size`` samples; the last may be smaller.

    Arguments are checked, and the order is drawn from ``rng``, in the call itself, not at the first ``next()``.

    Args:
        x: (N, ...) array of any dtype.
        y: (N, ...) array of any dtype.
        batch_size: samples in a batch, at least 1.
        rng: a Generator, or a seed for a new one, shuffles, and batches are copies;
            None keeps the order, and batches are views of ``x`` and ``y``.
        drop_last: leave out a last batch smaller than ``batch_size``.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: ``batch_size`` below 1, a negative seed, or ``x`` and ``y`` of different lengths.

    Example:
        >>> x, y = np.arange(5.0), np.arange(5)
        >>> [y_batch.tolist() for x_batch, y_batch in minibatches(x, y, 2)]
        [[0, 1], [2, 3], [4]]
        >>> sorted(int(label) for _, y_batch in minibatches(x, y, 2, rng=0) for label in y_batch)
        [0, 1, 2, 3, 4]
    """
    for name, array in (("x", x), ("y", y)):
        if not isinstance(array, np.ndarray):
            raise DTypeError(f"minibatches: {name} is a {type(array).__name__}, a numpy.ndarray was needed")
        if array.ndim == 0:
            raise ShapeError(f"minibatches: {name} has shape (), at least one axis was needed")
    if len(x) != len(y):
        raise ShapeError(f"minibatches: x has {len(x)} samples, y has {len(y)}; the same number was needed")
    size = integer("minibatches", "batch_size", batch_size, 1)
    generator = _generator(rng)
    order = None if generator is None else generator.permutation(len(x))
    stop = len(x) - len(x) % size if drop_last else len(x)
    return _batches(x, y, size, order, stop)


def _batches(
    x: NDArray[Any], y: NDArray[Any], size: int, order: NDArray[np.int64] | None, stop: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for start in range(0, stop, size):
        end = min(start + size, stop)
        chosen = slice(start, end) if order is None else order[start:end]
        yield x[chosen], y[chosen]


def _generator(rng: np.random.Generator | int | None) -> np.random.Generator | None:
    if rng is None or isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)):
        raise TypeError(
            f"minibatches: rng is a {type(rng).__name__}, a numpy.random.Generator, an int or None was needed"
        )
    if rng < 0:
        raise ValueError(f"minibatches: rng is {rng}, a seed of at least 0 was needed")
    return np.random.default_rng(rng)
