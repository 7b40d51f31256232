"""Activations and losses."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F
from fastconv.errors import RangeError, ShapeError

_LOG_OF_ZERO = 1e-7  # is added to probabilities before their logarithm is taken


def identity_function(x: np.ndarray) -> np.ndarray:
    """x itself."""
    return x


def step_function(x: np.ndarray) -> np.ndarray:
    """1 where x > 0, else 0, as integers."""
    return np.asarray(np.greater(x, 0), np.int64)


def _floats(x: np.ndarray) -> np.ndarray:
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return F.sigmoid(_floats(x))


def sigmoid_grad(x: np.ndarray) -> np.ndarray:
    """The derivative of `sigmoid` at x.

    Example:
        >>> sigmoid_grad(np.array([0.0]))
        array([0.25])
    """
    y = sigmoid(x)
    return (1 - y) * y


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)."""
    return F.relu(_floats(x))


def relu_grad(x: np.ndarray) -> np.ndarray:
    """1 where x >= 0, else 0.

    Example:
        >>> relu_grad(np.array([-1.0, 0.0, 2.0]))
        array([0., 1., 1.])
    """
    x = _floats(x)
    return np.asarray(x >= 0, x.dtype)


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum(exp(x)) along the last axis, without overflow."""
    return F.softmax(_floats(x))


def sum_squared_error(y: np.ndarray, t: np.ndarray) -> float:
    """Half of the sum of squared differences.

    Raises:
        ShapeError: the shapes differ.
    """
    if np.shape(y) != np.shape(t):  # would be broadcast
        raise ShapeError(f"sum_squared_error: t must have the shape {np.shape(y)} of y, got {np.shape(t)}")
    return 0.5 * np.sum(np.square(np.subtract(y, t)))


def shares(where: str, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The share of each class, of the shape and dtype of the rows y (N, K): of class ids, or rows as they are.

    Args:
        where: the name of the caller, for errors.
        y: what the classes are predicted with.
        t: N class ids in any shape, or rows (N, K); of a single row also (K,).

    Raises:
        ShapeError: t has another shape.
        RangeError: an id is not a column of y.
        TypeError: t holds ids that are not integers.
    """
    N, K = y.shape
    t = np.asarray(t)
    if t.shape == y.shape or (t.size == K and N == 1):
        return t.reshape(y.shape).astype(y.dtype)
    if t.size != N:
        raise ShapeError(f"{where}: t must hold {N} class ids or {N} rows of {K}, got shape {t.shape}")
    if t.dtype.kind not in "iu":
        raise TypeError(f"{where}: t must hold class ids as integers, got {t.dtype}")
    if N and not 0 <= t.min() <= t.max() < K:
        raise RangeError(f"{where}: t must be from 0 to {K - 1}, got {t.min()} to {t.max()}")
    found = np.zeros_like(y)
    found[np.arange(N), t.reshape(N)] = 1
    return found


def rows_of(where: str, y: np.ndarray) -> np.ndarray:
    """y (N, K), or a single row (K,) as (1, K)."""
    if y.ndim not in (1, 2):
        raise ShapeError(f"{where}: the predictions must have shape (N, K) or (K,), got {y.shape}")
    return y.reshape(1, -1) if y.ndim == 1 else y


def cross_entropy_error(y: np.ndarray, t: np.ndarray) -> float:
    """The mean of -log(y + 1e-7) at the classes t of the probabilities y (N, K), or of one row (K,).

    Args:
        y: the probabilities.
        t: class ids, one for each row, or one-hot rows; of rows with other shares the sum by these shares.

    Example:
        >>> round(float(cross_entropy_error(np.array([[0.5, 0.5]]), np.array([1]))), 4)
        0.6931
    """
    rows = rows_of("cross_entropy_error", y)
    return -np.sum(shares("cross_entropy_error", rows, t) * np.log(rows + _LOG_OF_ZERO)) / len(rows)


def softmax_loss(X: np.ndarray, t: np.ndarray) -> float:
    """`cross_entropy_error` of softmax(X)."""
    return cross_entropy_error(softmax(X), t)
