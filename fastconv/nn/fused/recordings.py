"""What has been recorded of a network for batches of some sizes, and when that is worth it."""

from __future__ import annotations

import operator
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar

import numpy as np

from fastconv._arguments.arrays import FLOATS
from fastconv._arguments.recycling import Arena
from fastconv._engine import calls
from fastconv._runtime import jit
from fastconv._runtime.switches import winograd
from fastconv._runtime.threads import get_num_threads
from fastconv.nn.base import Buffer, Layer, Parameter

CALLS_BEFORE = 2  # as the layers have it: what is called once or twice is not worth recording
LEAST_LAUNCHES = 3  # fewer are not worth copying the batch and the result
MOST_RECORDINGS = 4  # sizes of batches
MOST_CALLS = 64  # sizes whose calls are counted
MOST_BEFORE = 2**10  # calls, where numbers change again and again

Key = tuple[tuple[int, ...], np.dtype, int, int]
Found = TypeVar("Found")
Result = TypeVar("Result")
_inside = threading.local()  # `busy` while a recorded network runs, whose parts are not recorded for themselves


class Recordings(Generic[Found]):
    """What a `Sequential` has recorded.

    The arrays are used by one thread at a time; others compute the layers as they are.

    Attributes:
        arena: the memory of all of it.
    """

    def __init__(self) -> None:
        self.arena = Arena()
        self._lock = threading.Lock()
        self._calls: dict[Key, int] = {}
        self._found: dict[Key, Found] = {}
        self._declined: set[tuple[tuple[int, ...], np.dtype]] = set()  # what could not be recorded
        self._layers: tuple[Layer, ...] | None = None  # of which all this is
        self._before = CALLS_BEFORE

    def __getstate__(self) -> dict[str, object]:
        """Nothing: what is recorded is of these arrays in this process."""
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        """To record anew."""
        Recordings.__init__(self)

    def result(
        self, layers: tuple[Layer, ...], x: np.ndarray, use: Callable[[Found], Result | None],
        record: Callable[[], tuple[Found | None, Result | None]], run: Callable[[], Result],
    ) -> Result:  # fmt: skip
        """What is found by use of what these layers have recorded for such an x, if there is something; else by `run`.

        Args:
            layers: the network's.
            x: the batch.
            use: gives None where the layers, or how they compute, are not what they were.
            record: gives a recording, and what was found for x; None for what there is not.
            run: computes the layers as they are.
        """
        if (x.shape, x.dtype) in self._declined:  # first, for what takes no longer than some tens of microseconds
            return run()
        if x.dtype not in FLOATS or not x.size or getattr(_inside, "busy", False):
            return run()
        if jit.ONE_THREAD or calls.VERBOSE or not self._lock.acquire(blocking=False):
            return run()
        _inside.busy = True
        try:
            found = self._result(layers, x, use, record)
            return run() if found is None else found
        finally:
            _inside.busy = False
            self._lock.release()

    def _result(
        self, layers: tuple[Layer, ...], x: np.ndarray, use: Callable[[Found], Result | None],
        record: Callable[[], tuple[Found | None, Result | None]],
    ) -> Result | None:  # fmt: skip
        if layers is not self._layers:
            self._layers, self._calls, self._found, self._before = layers, {}, {}, CALLS_BEFORE
            self._declined.clear()
        key = x.shape, x.dtype, get_num_threads(), winograd()
        if key in self._found:
            y = use(self._found[key])
            if y is not None:
                return y
            self._forget(key)  # a layer is another one, or has other numbers, and may have others again soon
            self._before = min(2 * self._before, MOST_BEFORE)
        for kept in (self._calls, self._declined):
            if len(kept) > MOST_CALLS:
                kept.clear()
        count = self._calls[key] = self._calls.get(key, 0) + 1
        if count <= self._before:
            return None
        while len(self._found) >= MOST_RECORDINGS:
            self._forget(next(iter(self._found)))
        found, y = record()
        if found is None:
            self._declined.add((x.shape, x.dtype))
        else:
            self._found[key] = found
        return y

    def _forget(self, key: Key) -> None:
        del self._found[key]
        self._calls.pop(key, None)


class Owned(Generic[Found]):
    """What a `Sequential` has recorded for each of its owners, as long as these live: its memory is not small."""

    def __init__(self) -> None:
        self._of: weakref.WeakKeyDictionary[object, Recordings[Found]] = weakref.WeakKeyDictionary()

    def __getstate__(self) -> dict[str, object]:
        """Nothing, as for `Recordings`."""
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        """To record anew."""
        Owned.__init__(self)

    def of(self, owner: object) -> Recordings[Found] | None:
        """What is recorded for an owner; None for an object that does not tell of its end."""
        try:
            if owner not in self._of:
                self._of[owner] = Recordings()
            return self._of[owner]
        except TypeError:
            return None

    def every(self) -> list[Recordings[Found]]:
        """What is recorded for all of them."""
        return list(self._of.values())


class Unchanged:
    """What layers have, which must be what they had, but for the numbers in their arrays, which launches read anew."""

    def __init__(self, layers: Iterable[Layer]):
        self._attributes = [vars(layer) for layer in all_of(layers)]
        self._values = list(chain.from_iterable(map(dict.values, self._attributes)))
        states = {id(value): value for value in self._values if isinstance(value, Parameter | Buffer)}
        self._states = list(states.values())
        self._arrays = [state.value for state in self._states]

    def holds(self) -> bool:
        """Whether they have it."""
        return (
            sum(map(len, self._attributes)) == len(self._values)
            and all(map(operator.is_, chain.from_iterable(map(dict.values, self._attributes)), self._values))
            and all(map(operator.is_, (state.value for state in self._states), self._arrays))
        )


def states(layer: Layer) -> list[Parameter | Buffer]:
    """The parameters and buffers of a layer itself."""
    return [value for value in vars(layer).values() if isinstance(value, Parameter | Buffer)]


def all_of(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers, and those inside of them."""
    for layer in layers:
        yield layer
        yield from all_of(value for _, value in layer._children() if isinstance(value, Layer))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
