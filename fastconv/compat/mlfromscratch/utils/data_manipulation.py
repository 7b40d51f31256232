"""Data in batches, shuffled, split, scaled, and labels as one-hot rows; drawn from NumPy's global state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer


def shuffle_data(X: np.ndarray, y: np.ndarray, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """X and y in the same random order; a seed, 0 too, is given to NumPy's global state first."""
    if seed is not None:
        np.random.seed(integer("shuffle_data", "seed", seed))  # noqa: NPY002
    order = np.arange(len(X))
    np.random.shuffle(order)  # noqa: NPY002
    return X[order], y[order]


def batch_iterator(X: np.ndarray, y: np.ndarray | None = None, batch_size: int = 64) -> Iterator[Any]:
    """Batches of X, or of both, in their order; the last may be smaller.

    Example:
        >>> [len(batch) for batch in batch_iterator(np.zeros((5, 2)), batch_size=2)]
        [2, 2, 1]
    """
    size = integer("batch_iterator", "batch_size", batch_size, 1)
    for first in range(0, len(X), size):
        part = slice(first, first + size)
        yield X[part] if y is None else (X[part], y[part])


def get_random_subsets(
    X: np.ndarray, y: np.ndarray, n_subsets: int, replacements: bool = True
) -> list[list[np.ndarray]]:  # fmt: skip
    """[X, y] of samples that are drawn: as many as there are, with replacement, or half of them without."""
    rows = np.concatenate((X, np.reshape(y, (-1, 1))), axis=1)
    np.random.shuffle(rows)  # noqa: NPY002
    size = len(rows) if replacements else len(rows) // 2
    subsets = []
    for _ in range(integer("get_random_subsets", "n_subsets", n_subsets)):
        chosen = rows[np.random.choice(len(rows), size, replace=replacements)]  # noqa: NPY002
        subsets.append([chosen[:, :-1], chosen[:, -1]])
    return subsets


def normalize(X: np.ndarray, axis: int = -1, order: int = 2) -> np.ndarray:
    """X divided by its norm along an axis; what is zero stays.

    Example:
        >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    norm = np.atleast_1d(np.linalg.norm(X, order, axis))
    norm[norm == 0] = 1
    return X / np.expand_dims(norm, axis)


def standardize(X: np.ndarray) -> np.ndarray:
    """A copy of X, every column with mean 0 and deviation 1; one without deviation stays.

    (The tutorial's overwrites X, and gives zeros of integers.)
    """
    deviation = X.std(axis=0)
    moves = deviation != 0
    return np.where(moves, (X - X.mean(axis=0)) / np.where(moves, deviation, 1), X)


def train_test_split(
    X: np.ndarray, y: np.ndarray, test_size: float = 0.5, shuffle: bool = True, seed: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X_train, X_test, y_train, y_test, with the share `test_size` in the test.

    Example:
        >>> [len(part) for part in train_test_split(np.zeros((10, 2)), np.zeros(10), test_size=0.4, seed=1)]
        [6, 4, 6, 4]
    """
    share = number("train_test_split", "test_size", test_size, 0, 1)
    if shuffle:
        X, y = shuffle_data(X, y, seed)
    first = len(y) - (int(len(y) // (1 / share)) if share else 0)
    return X[:first], X[first:], y[:first], y[first:]


def to_categorical(x: np.ndarray, n_col: int | None = None) -> np.ndarray:
    """Class ids (N,) as one-hot rows (N, n_col); by default as many columns as the largest id needs.

    Example:
        >>> to_categorical(np.array([1, 0]))
        array([[0., 1.],
               [1., 0.]])
    """
    if x.dtype.kind not in "iu":
        raise TypeError(f"to_categorical: x must hold integers, got {x.dtype}")
    columns = int(x.max(initial=-1)) + 1 if not n_col else integer("to_categorical", "n_col", n_col, 1)
    if x.size and not 0 <= x.min() <= x.max() < columns:
        raise ValueError(f"to_categorical: x must be from 0 to {columns - 1}, got {x.min()} to {x.max()}")
    rows = np.zeros((len(x), columns))
    rows[np.arange(len(x)), x] = 1
    return rows


def to_nominal(x: np.ndarray) -> np.ndarray:
    """One-hot rows as class ids."""
    return np.argmax(x, axis=1)


def make_diagonal(x: np.ndarray) -> np.ndarray:
    """A square matrix with x on its diagonal, of float64."""
    return np.diag(np.asarray(x, np.float64))
