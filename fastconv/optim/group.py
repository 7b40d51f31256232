"""Parameters of one dtype that one kernel call changes, and what the kernel is told of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np

from fastconv._runtime.backend import on_numpy
from fastconv._runtime.pointers import Table
from fastconv.kernels import updates

TASK_ELEMENTS = 4096  # elements of a parameter that one task changes
WORK_OF_AN_ELEMENT = 2  # of that of one in other loops: a task is worth a thread, unlike an element
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))  # that kernels are compiled for


class Group:
    """The arrays of parameters of one dtype: their values, gradients, and slots of an optimiser.

    Args:
        dtype: float32 or float64.
    """

    def __init__(self, dtype: np.dtype):
        self.dtype, self._like = dtype, np.empty(0, dtype)
        self._table, self._tasks, self._count = Table(), np.empty((0, 3), np.int64), 0

    def fill(self, values: Sequence[np.ndarray], grads: Sequence[np.ndarray], slots: Sequence[np.ndarray] = ()) -> bool:
        """Note where they lie, the slots one list behind the other; whether kernels can change them."""
        arrays = [*values, *grads, *slots]
        if not self._table.holds(arrays):
            shapes = [array.shape for array in values]
            if not writable(arrays, self.dtype) or any(a.shape != s for a, s in zip(grads, shapes)):
                return False
            self._table.fill(arrays)
            self._tasks, self._count = tasks([array.size for array in values], TASK_ELEMENTS), len(values)
        return True

    def norm(self) -> float:
        """The square root of the sum of the gradients' squares, with the same bits for any number of threads."""
        sums = np.empty(len(self._tasks))
        updates.squares.sized(self._work)(self._places[1], self._tasks, self._like, sums)
        return math.sqrt(sum(sums.tolist()))

    def update(self, rule: int, numbers: Sequence[float], limits: tuple[float, float]) -> None:
        """Clip the gradients, and take a step by a rule, in one call."""
        values, grads, *_ = places = self._places
        step = step_of(rule, places[2:], numbers, limits, self.dtype)
        updates.update.sized(self._work)(values, grads, self._tasks, step)

    @property
    def _places(self) -> np.ndarray:
        return self._table.addresses.reshape(-1, max(self._count, 1))

    @property
    def _work(self) -> int:
        return len(self._tasks) * TASK_ELEMENTS * WORK_OF_AN_ELEMENT


def by_kernels() -> bool:
    """Whether kernels change parameters; otherwise, or where there is no JIT for pointers, the formulas in NumPy."""
    return not on_numpy() and not numba.config.DISABLE_JIT


def step_of(
    rule: int, slots: np.ndarray, numbers: Sequence[float], limits: tuple[float, float], dtype: np.dtype
) -> updates.Step:  # fmt: skip
    """A step as the kernels take it, its numbers rounded to the parameters' dtype."""
    rounded = np.array((*limits, *numbers), dtype)
    return updates.Step(rule, slots, rounded[2:], rounded[:2])


def writable(arrays: Sequence[np.ndarray], dtype: np.dtype) -> bool:
    """Whether a kernel can write to all of them."""
    return all(array.dtype == dtype and array.flags.carray for array in arrays)


def tasks(lengths: list[int], most: int) -> np.ndarray:
    """(parameter, first element, how many) for each task, of `most` elements at most: (tasks, 3) int64."""
    parts = [
        (i, first, min(most, size - first)) for i, size in enumerate(lengths) for first in range(0, size, most)
    ]  # fmt: skip
    return np.array(parts, np.int64).reshape(-1, 3)
