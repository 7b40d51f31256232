"""Random weights, and batches, from NumPy's global state."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastconv._arguments.sizes import integer, sizes


def minibatch(X: np.ndarray, batchsize: int = 256, shuffle: bool = True) -> tuple[Iterator[np.ndarray], int]:
    """An iterator over the indices of each batch, and how many batches there are; the last may be smaller.

    Example:
        >>> batches, count = minibatch(np.zeros((5, 2)), batchsize=2, shuffle=False)
        >>> count, [batch.tolist() for batch in batches]
        (3, [[0, 1], [2, 3], [4]])
    """
    size = integer("minibatch", "batchsize", batchsize, 1)
    order = np.arange(len(X))
    if shuffle:
        np.random.shuffle(order)  # noqa: NPY002
    firsts = range(0, len(X), size)
    return (order[first : first + size] for first in firsts), len(firsts)


def calc_fan(weight_shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input: of (..., C, F), or (IN, OUT).

    Example:
        >>> calc_fan((3, 3, 2, 8))
        (18, 72)
    """
    *kernel, inputs, outputs = sizes("calc_fan", "weight_shape", tuple(weight_shape), (2, 3, 4))
    return inputs * math.prod(kernel), outputs * math.prod(kernel)


def truncated_normal(mean: float, std: float, out_shape: int | tuple[int, ...]) -> np.ndarray:
    """Normal numbers, drawn again where they are two deviations or more from the mean."""
    drawn = np.random.normal(mean, std, out_shape)  # noqa: NPY002
    while True:
        far = (drawn >= mean + 2 * std) | (drawn <= mean - 2 * std)
        if not far.any() or std == 0:
            return drawn
        drawn[far] = np.random.normal(mean, std, far.sum())  # noqa: NPY002


def he_uniform(weight_shape: tuple[int, ...]) -> np.ndarray:
    """Uniform within sqrt(6 / inputs)."""
    limit = math.sqrt(6 / calc_fan(weight_shape)[0])
    return np.random.uniform(-limit, limit, weight_shape)  # noqa: NPY002


def he_normal(weight_shape: tuple[int, ...]) -> np.ndarray:
    """Truncated normal with the deviation sqrt(2 / inputs)."""
    return truncated_normal(0, math.sqrt(2 / calc_fan(weight_shape)[0]), weight_shape)


def glorot_uniform(weight_shape: tuple[int, ...], gain: float = 1.0) -> np.ndarray:
    """Uniform within gain * sqrt(6 / (inputs + outputs))."""
    limit = gain * math.sqrt(6 / sum(calc_fan(weight_shape)))
    return np.random.uniform(-limit, limit, weight_shape)  # noqa: NPY002


def glorot_normal(weight_shape: tuple[int, ...], gain: float = 1.0) -> np.ndarray:
    """Truncated normal with the deviation gain * sqrt(2 / (inputs + outputs))."""
    return truncated_normal(0, gain * math.sqrt(2 / sum(calc_fan(weight_shape))), weight_shape)
