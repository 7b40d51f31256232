"""Steps of tutorials' optimisers over many arrays, in one call of the kernel that `fastconv.optim` has."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from fastconv.optim.clipping import NO_LIMITS
from fastconv.optim.group import Group, by_kernels


def stepped(
    rule: int, numbers: Sequence[float], values: Sequence[np.ndarray], grads: Sequence[np.ndarray],
    *slots: Sequence[np.ndarray],
) -> bool:  # fmt: skip
    """Take a step of one of the rules of `kernels.updates`, in place, if all arrays are such that a kernel may.

    They are: NumPy's own, of one dtype, each row of them (value, gradient, slots) in the same order in memory, and
    apart from each other. Where this is False nothing has changed.

    Args:
        rule: as in `kernels.updates`.
        numbers: of the rule.
        values: the parameters.
        grads: their gradients.
        slots: a list of arrays for each of the optimiser's slots.
    """
    if not values or not by_kernels():
        return False
    flat: list[np.ndarray] = []
    rows = list(zip(values, grads, *slots))
    for row in rows:
        if any(type(array) is not np.ndarray for array in row):
            return False
        # products have their weights transposed, and so are the gradients and what was made like them
        flat += row if all(array.flags.c_contiguous for array in row) else [array.T for array in row]
    if not _apart(flat):
        return False
    count = len(rows[0])
    columns = [flat[first::count] for first in range(count)]
    group = Group(values[0].dtype)
    if group.dtype not in (np.float32, np.float64):
        return False
    # slots as well: a reader may have put others in
    fits = all(array.shape == value.shape for column in columns[2:] for array, value in zip(column, columns[0]))
    if not fits or not group.fill(columns[0], columns[1], [array for column in columns[2:] for array in column]):
        return False
    group.update(rule, numbers, NO_LIMITS)
    return True


def _apart(arrays: Sequence[np.ndarray]) -> bool:
    """Whether no two contiguous arrays have a byte in common: tasks change them at the same time."""
    spans = sorted((array.ctypes.data, array.nbytes) for array in arrays)
    return all(first + size <= second for (first, size), (second, _) in itertools.pairwise(spans))
