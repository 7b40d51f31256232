"""Dropout, with NumPy's random numbers."""

from __future__ import annotations

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.scalars import Rng, generator, number
from fastconv._runtime.backend import on_numpy
from fastconv.errors import DTypeError
from fastconv.kernels.elementwise import kept


def dropout(x: np.ndarray, p: float, rng: Rng) -> np.ndarray:
    """Each value zero with probability p, and the others over 1 - p, so that the expectation stays.

    Args:
        x: an array of any shape, of any dtype that `conv2d` takes, promoted as there.
        p: the probability, 0 to 1.
        rng: source of randomness: a Generator, a seed or None.

    Returns:
        y, of the shape of x.

    Raises:
        ValueError: p is not a probability.
        TypeError: x is not a numeric array, or rng no source of randomness.

    Example:
        >>> dropout(np.ones(6), 0.5, rng=0)
        array([2., 2., 2., 0., 0., 0.])

    Source: N. Srivastava et al., Dropout (2014), section 10.
    """
    return _dropped("dropout", x, p, rng)[0]


def dropout_with_mask(x: np.ndarray, p: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """As `dropout`, and which values were kept: what `dropout_backward` needs.

    Args:
        x: as for `dropout`.
        p: as for `dropout`.
        rng: as for `dropout`.

    Returns:
        (y, mask): y as from `dropout`, mask of the same shape, booleans.

    Raises:
        ValueError: as for `dropout`.
        TypeError: as for `dropout`.

    Example:
        >>> dropout_with_mask(np.ones(2), 0.9, rng=0)
        (array([0., 0.]), array([False, False]))

    Source: as for `dropout`.
    """
    return _dropped("dropout_with_mask", x, p, rng)


def dropout_backward(grad_output: np.ndarray, mask: np.ndarray, p: float) -> np.ndarray:
    """grad_output / (1 - p) where the value was kept, else 0.

    Args:
        grad_output: the gradient of the result.
        mask: booleans of the same shape, from `dropout_with_mask`.
        p: as given to it.

    Returns:
        grad_x, of the same shape.

    Raises:
        ShapeError: the shapes differ.
        ValueError: p is not a probability.
        TypeError: an argument is not a numeric array, or mask not of booleans.

    Example:
        >>> dropout_backward(np.array([1.0, 2.0]), np.array([True, False]), 0.5)
        array([2., 0.])

    Source: as for `dropout`.
    """
    where = "dropout_backward"
    g = arrays.numeric(where, "grad_output", grad_output)
    if arrays.numeric(where, "mask", mask).dtype != np.bool_:
        raise DTypeError(f"{where}: mask must hold booleans, got {mask.dtype}")
    arrays.same_shape(where, "mask", mask, g.shape)
    return _kept(g, ready(mask, mask.dtype), number(where, "p", p, 0, 1))


def _dropped(where: str, x: np.ndarray, p: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    arrays.numeric(where, "x", x)
    p, source = number(where, "p", p, 0, 1), generator(rng, where)
    mask = np.empty(x.shape, np.bool_)
    draw_mask(p, source, mask)
    return _kept(x, mask, p), mask


def draw_mask(p: float, source: np.random.Generator, mask: np.ndarray) -> None:
    """Draw which values are kept."""
    np.greater_equal(source.random(mask.shape, np.float32), np.float32(p), out=mask)


def _kept(x: np.ndarray, mask: np.ndarray, p: float) -> np.ndarray:
    dtype = arrays.result_dtype(x)
    values = ready(x, arrays.compute_dtype(dtype))
    if on_numpy():
        return reference.dropout_backward(values, mask, p).astype(dtype, copy=False)
    factor = values.dtype.type(1 / (1 - p) if p < 1 else 1)  # of p = 1 nothing is left that it could meet
    # not a product with the mask: infinity times zero is NaN
    y = arrays.empty("dropout", values.shape, values.dtype)
    kept(values.reshape(-1), mask.reshape(-1), factor, y.reshape(-1))
    return y.astype(dtype, copy=False)
