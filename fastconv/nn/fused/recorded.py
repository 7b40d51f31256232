"""Inference of a few images as one launch: the kernels' launches recorded once, and made again for other images.

Between the layers of a small network there is more of Python and of waiting for threads than of arithmetic. Which
kernels run, on which arrays, follows from the layers and the sizes alone, so the third batch of a size is computed on
arrays that are kept, its launches recorded, and those after it copied into the first of these arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fastconv._arguments.recycling import Arena
from fastconv._engine.launches import MOST_PARTS, Launches
from fastconv._runtime.recording import Recording, owner_of, recorded
from fastconv._runtime.threads import get_num_threads
from fastconv.nn.base import Layer
from fastconv.nn.conv import Conv2d
from fastconv.nn.dropout import Dropout
from fastconv.nn.fused.recordings import LEAST_LAUNCHES, Recordings, Unchanged, all_of, same, states
from fastconv.nn.linear import Linear
from fastconv.nn.norm import BatchNorm2d

MOST_BYTES = 2**24  # of the arrays that are kept for a batch
# layers with parameters or buffers: kernels read them; those of the others are taken into weights, or not read
READ_BY_KERNELS, FOLDED = (Conv2d, Linear), (BatchNorm2d, Dropout)

Run = Callable[[np.ndarray], np.ndarray]


class Recorded:
    """Inference of batches of one size.

    Attributes:
        x: the batch, to which others are copied.
        y: its result.
    """

    def __init__(self, layers: Sequence[Layer], noted: Recording, x: np.ndarray, y: np.ndarray):
        self.x, self.y, self._launches, self._unchanged = x, y, Launches(noted), Unchanged(layers)

    def result(self, x: np.ndarray) -> np.ndarray | None:
        """That of another batch; None where the layers, or how they compute it, are not what they were."""
        if not self._unchanged.holds():
            return None
        self.x[...] = x
        return self.y.copy() if self._launches.again() else None


def inferred(recordings: Recordings[Recorded], layers: tuple[Layer, ...], x: np.ndarray, run: Run) -> np.ndarray:
    """What `run`, which computes these layers, gives for x."""
    if x.nbytes > MOST_BYTES:
        return run(x)

    def record() -> tuple[Recorded | None, np.ndarray | None]:
        found = recorded_for(layers, x, run, recordings.arena)
        return found, None if found is None else found.y.copy()

    return recordings.result(layers, x, lambda found: found.result(x), record, lambda: run(x))


def recorded_for(layers: Sequence[Layer], x: np.ndarray, run: Run, arena: Arena) -> Recorded | None:
    """The recording of what layers compute for x, if launches are all that they do and the arrays are small.

    That nothing happens between launches is found by another batch, which must have the result that `run` gives.
    """
    if not recordable(layers, x.shape, x.dtype):
        return None
    own = x.copy(order="C")
    run(own)  # what is made at a first call, or after a change, is made now
    with recorded(get_num_threads(), arena) as noted:
        y = run(own)
    if noted is None or not noted.launches_alone() or type(y) is not np.ndarray or len(noted.steps) < LEAST_LAUNCHES:
        return None
    parameters = {id(owner_of(state.value)) for layer in all_of(layers) for state in states(layer)}
    if sum(array.nbytes for owner, array in noted.arrays().items() if owner not in parameters) > MOST_BYTES:
        return None
    found = Recorded(layers, noted, own, y)
    other = np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)
    expected, again = run(other), found.result(other)
    return found if again is not None and same(expected, again) and found.result(x) is not None else None


def recordable(layers: Sequence[Layer], shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether to try to record what layers compute for a batch of a shape: kinds and sizes are fit for it."""
    if get_num_threads() > MOST_PARTS or not all(_fit(layer, dtype) for layer in all_of(layers)):
        return False
    size = math.prod(shape) * dtype.itemsize
    try:
        for layer in layers:
            shape = layer.output_shape(shape)
            size += math.prod(shape) * dtype.itemsize
    except (ValueError, IndexError):  # computing them tells better what is wrong
        return False
    return size <= MOST_BYTES


def _fit(layer: Layer, dtype: np.dtype) -> bool:
    """Whether the launches of a layer of this kind read its parameters themselves, which are arrays fit for that."""
    kind = type(layer)
    if kind in READ_BY_KERNELS:
        return all(state.value.dtype == dtype and state.value.flags.carray for state in states(layer))
    return kind in FOLDED or (kind.__module__.startswith("fastconv.nn.") and not states(layer))
