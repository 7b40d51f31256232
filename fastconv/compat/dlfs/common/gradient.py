"""Gradients by central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STEP = 1e-4


def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """The gradient of f at x, (f(x + 1e-4) - f(x - 1e-4)) / 2e-4 for each element in turn.

    x is changed in place while f is called, so that f may look at x where it lies, and is then as before.

    Raises:
        TypeError: x does not hold floats: in integers the step would be lost.

    Example:
        >>> numerical_gradient(lambda x: np.sum(x**2), np.array([3.0, 4.0])).round(6)
        array([6., 8.])
    """
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        raise TypeError(
            f"numerical_gradient: x must be an array of floats, got {getattr(x, 'dtype', type(x).__name__)}"
        )
    found = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        old = x[place]
        try:
            x[place] = old + _STEP
            above = f(x)
            x[place] = old - _STEP
            found[place] = (above - f(x)) / (2 * _STEP)
        finally:
            x[place] = old
    return found


def numerical_gradient_2d(f: Callable[[np.ndarray], float], X: np.ndarray) -> np.ndarray:
    """`numerical_gradient` at x, or at each row of X by itself.

    Example:
        >>> numerical_gradient_2d(lambda x: np.sum(x**2), np.array([[3.0, 4.0], [0.0, 1.0]])).round(6)
        array([[6., 8.],
               [0., 2.]])
    """
    if X.ndim == 1:
        return numerical_gradient(f, X)
    return np.stack([numerical_gradient(f, row) for row in X])
