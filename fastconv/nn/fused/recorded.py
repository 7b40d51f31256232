"""Inference of a few images as one launch: the kernels' launches recorded once, and made again for other images.

Between the layers of a small network there is more of Python and of waiting for threads than of arithmetic. Which
kernels run, on which arrays, follows from the layers and the sizes alone, so the third batch of a size is computed on
arrays that are kept, its launches recorded, and those after it copied into the first of these arrays.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from fastconv._arguments.arrays import FLOATS
from fastconv._engine import calls
from fastconv._engine.launches import MOST_PARTS, Launches
from fastconv._runtime import jit
from fastconv._runtime.recording import Recording, owner_of, recorded
from fastconv._runtime.switches import winograd
from fastconv._runtime.threads import get_num_threads
from fastconv.nn.base import Buffer, Layer, Parameter
from fastconv.nn.conv import Conv2d
from fastconv.nn.dropout import Dropout
from fastconv.nn.linear import Linear
from fastconv.nn.norm import BatchNorm2d

CALLS_BEFORE = 2  # as the layers have it: what is called once or twice is not worth recording
LEAST_LAUNCHES = 3  # fewer are not worth copying the images and the result
MOST_BYTES = 2**24  # of the arrays that are kept for a batch
MOST_RECORDINGS = 4  # sizes of batches
MOST_CALLS = 64  # sizes whose calls are counted
MOST_BEFORE = 2**10  # calls, where numbers change again and again
# layers with parameters or buffers: kernels read them; those of the others are taken into weights, or not read
READ_BY_KERNELS, FOLDED = (Conv2d, Linear), (BatchNorm2d, Dropout)

Key = tuple[tuple[int, ...], np.dtype, int, int]
Run = Callable[[np.ndarray], np.ndarray]
_inside = threading.local()  # `busy` while a recorded network runs, whose parts are not recorded for themselves


class Recordings:
    """What a `Sequential` has recorded.

    The arrays are used by one thread at a time; others compute the layers as they are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[Key, int] = {}
        self._found: dict[Key, Recorded] = {}
        self._declined: set[tuple[tuple[int, ...], np.dtype]] = set()  # what could not be recorded
        self._layers: tuple[Layer, ...] | None = None  # of which all this is
        self._before = CALLS_BEFORE

    def __getstate__(self) -> dict[str, object]:
        """Nothing: what is recorded is of these arrays in this process."""
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        """To record anew."""
        Recordings.__init__(self)

    def result(self, layers: tuple[Layer, ...], x: np.ndarray, run: Run) -> np.ndarray:
        """What `run`, which computes these layers, gives for x."""
        if (x.shape, x.dtype) in self._declined:  # first, for what takes no longer than some tens of microseconds
            return run(x)
        if x.nbytes > MOST_BYTES or x.dtype not in FLOATS or not x.size or getattr(_inside, "busy", False):
            return run(x)
        if jit.ONE_THREAD or calls.VERBOSE or not self._lock.acquire(blocking=False):
            return run(x)
        _inside.busy = True
        try:
            return self._result(layers, x, run)
        finally:
            _inside.busy = False
            self._lock.release()

    def _result(self, layers: tuple[Layer, ...], x: np.ndarray, run: Run) -> np.ndarray:
        if layers is not self._layers:
            self._layers, self._calls, self._found, self._before = layers, {}, {}, CALLS_BEFORE
            self._declined.clear()
        key = x.shape, x.dtype, get_num_threads(), winograd()
        found = self._found.get(key)
        if found is not None:
            y = found.result(x)
            if y is not None:
                return y
            self._forget(key)  # a layer is another one, or has other numbers, and may have others again soon
            self._before = min(2 * self._before, MOST_BEFORE)
        for kept in (self._calls, self._declined):
            if len(kept) > MOST_CALLS:
                kept.clear()
        count = self._calls[key] = self._calls.get(key, 0) + 1
        if count <= self._before:
            return run(x)
        while len(self._found) >= MOST_RECORDINGS:
            self._forget(next(iter(self._found)))
        found = recorded_for(layers, x, run)
        if found is None:
            self._declined.add((x.shape, x.dtype))
            return run(x)
        self._found[key] = found
        return found.y.copy()

    def _forget(self, key: Key) -> None:
        del self._found[key]
        self._calls.pop(key, None)


class Recorded:
    """Inference of batches of one size.

    Attributes:
        x: the batch, to which others are copied.
        y: its result.
    """

    def __init__(self, layers: Sequence[Layer], noted: Recording, x: np.ndarray, y: np.ndarray):
        self.x, self.y, self._launches = x, y, Launches(noted)
        self._attributes = [vars(layer) for layer in all_of(layers)]
        self._values = list(chain.from_iterable(map(dict.values, self._attributes)))
        self._states = [value for value in self._values if isinstance(value, Parameter | Buffer)]
        self._arrays = [state.value for state in self._states]

    def _holds(self) -> bool:
        """Whether the layers have what they had, but for the numbers in their arrays, which launches read anew."""
        return (
            sum(map(len, self._attributes)) == len(self._values)
            and all(map(operator.is_, chain.from_iterable(map(dict.values, self._attributes)), self._values))
            and all(map(operator.is_, (state.value for state in self._states), self._arrays))
        )

    def result(self, x: np.ndarray) -> np.ndarray | None:
        """That of another batch; None where the layers, or how they compute it, are not what they were."""
        if not self._holds():
            return None
        self.x[...] = x
        return self.y.copy() if self._launches.again() else None


def recorded_for(layers: Sequence[Layer], x: np.ndarray, run: Run) -> Recorded | None:
    """The recording of what layers compute for x, if launches are all that they do and the arrays are small.

    That nothing happens between launches is found by another batch, which must have the result that `run` gives.
    """
    if not recordable(layers, x.shape, x.dtype):
        return None
    own = x.copy(order="C")
    run(own)  # what is made at a first call, or after a change, is made now
    with recorded(get_num_threads()) as noted:
        y = run(own)
    if noted is None or not noted.whole or type(y) is not np.ndarray or len(noted.steps) < LEAST_LAUNCHES:
        return None
    parameters = {id(owner_of(state.value)) for layer in all_of(layers) for state in states(layer)}
    arrays = noted.arrays()
    if sum(array.nbytes for owner, array in arrays.items() if owner not in parameters) > MOST_BYTES:
        return None
    found = Recorded(layers, noted, own, y)
    other = np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)
    results = run(other), found.result(other)
    again = found.result(x)
    return found if again is not None and _same(*results) else None


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


def _same(a: np.ndarray, b: np.ndarray | None) -> bool:
    return b is not None and a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _fit(layer: Layer, dtype: np.dtype) -> bool:
    """Whether the launches of a layer of this kind read its parameters themselves, which are arrays fit for that."""
    kind = type(layer)
    if kind in READ_BY_KERNELS:
        return all(state.value.dtype == dtype and state.value.flags.carray for state in states(layer))
    return kind in FOLDED or (kind.__module__.startswith("fastconv.nn.") and not states(layer))


def states(layer: Layer) -> list[Parameter | Buffer]:
    """The parameters and buffers of a layer itself."""
    return [value for value in vars(layer).values() if isinstance(value, Parameter | Buffer)]


def all_of(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers, and those inside of them."""
    for layer in layers:
        yield layer
        yield from all_of(value for _, value in layer._children() if isinstance(value, Layer))
