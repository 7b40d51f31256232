"""Weights transformed for Winograd's algorithm, kept from call to call as long as they are the same.

The transform takes a sixth of a wide layer's time. Whether weights are the same is found by comparing all of them with
a copy, which takes a quarter of that; they may have been changed in place.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._runtime.jit import keeping
from fastconv._runtime.recording import owner_of, recording
from fastconv.kernels import winograd as kernels
from fastconv.kernels.folding import equal

LEAST = 2**15  # weights, of which fewer are transformed in no time
MOST_BYTES = 2**27  # of all that is kept
MOST_ARRAYS = 64  # whose calls are remembered
CALLS = 2  # with the same weights, that repay a copy; twice as many each time that it was none
MOST_CALLS = 64
UNUSED = 256  # calls after which what was not used makes room
SAMPLE = 64  # weights that tell at once that an optimiser has taken a step


class _Weights:
    """What is known of the weights that lie in one place.

    Attributes:
        owner: of their memory; they are forgotten with it.
        sample: some of them, as they were in the last call.
        seen: the calls in a row in which these were the same.
        needed: of which so many repay a copy.
        used: the number of the last call.
        kept: a copy of them, and that transformed, or nothing.
    """

    def __init__(self, owner: weakref.ref):
        self.owner, self.sample, self.seen, self.needed, self.used = owner, b"", 0, CALLS, 0
        self.kept: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def bytes(self) -> int:
        kept = self.kept
        return sum(array.nbytes for array in kept) if kept else 0


# by where they lie and how they are transformed. No lock: what two threads do at once is done twice, or kept by one
_known: dict[Any, _Weights] = {}
_calls = itertools.count(1)


def forget() -> None:
    """Keep nothing."""
    _known.clear()


def _transformed(
    where: str, weight: np.ndarray, start: int, steps: tuple[int, int, int], unit: int, shape: tuple[int, ...]
) -> np.ndarray:
    result = empty(where, shape, weight.dtype, "the transformed weights")
    kernels.transform_weights(weight, start, steps, unit, result)
    return result


@keeping(_transformed)
def transformed_weights(
    where: str, weight: np.ndarray, start: int, steps: tuple[int, int, int], unit: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Weights as `transform_weights` leaves them, in an array of a shape; nothing may be written to it."""
    how = start, steps, unit, shape
    if weight.size < LEAST:
        return _transformed(where, weight, *how)
    key = weight.__array_interface__["data"][0], weight.size, weight.dtype, *how
    known = _known.get(key)
    if known is None:
        known = _noted(key, weight)
    known.used = next(_calls)
    kept = known.kept
    if kept is not None:
        if equal(weight.view(np.int32), kept[0].view(np.int32)):
            return kept[1]
        known.kept, known.needed = None, min(2 * known.needed, MOST_CALLS)
    sample = weight[:: weight.size // SAMPLE].tobytes()
    known.sample, known.seen = sample, known.seen + 1 if sample == known.sample else 1
    size = (weight.size + int(np.prod(shape))) * weight.itemsize
    # a copy is no launch, so it is not made where launches are recorded
    if known.seen < known.needed or recording() or not _has_room(size, known.used):
        return _transformed(where, weight, *how)
    # of the copy: another thread may write to the weights meanwhile
    copy = weight.copy()
    known.kept = copy, _transformed(where, copy, *how).copy()  # whose memory is of no arena
    return known.kept[1]


def _noted(key: Any, weight: np.ndarray) -> _Weights:
    """Remember weights that were not met before, in place of the oldest if there are many."""
    for oldest in list(_known)[: -MOST_ARRAYS + 1]:
        _known.pop(oldest, None)
    _known[key] = found = _Weights(weakref.ref(owner_of(weight), lambda _: _known.pop(key, None)))
    return found


def _has_room(size: int, now: int) -> bool:
    """Whether so many bytes more may be kept, without those that have not been used for long."""
    for one in list(_known.values()):
        if one.used < now - UNUSED:
            one.kept = None
    return size + sum(one.bytes for one in list(_known.values())) <= MOST_BYTES
