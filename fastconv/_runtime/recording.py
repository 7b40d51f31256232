"""Launches of kernels noted as they are made, to be made again all at once: see `replay`.

What a launch is given lies in one block of memory (see `launch.Launched`), with the addresses of arrays. A copy of it,
with the arrays kept alive, is all that the launch needs to be made again on the same arrays. Large arrays that are gone
before the recording ends hand their memory on to later ones of it, as they will when the launches are made again.

What is not a launch would not be done again: it is said to be done `before` all launches, or `after` them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments.recycling import Arena
from fastconv._runtime.launch import Launched, loop_of_threads, recorded_by

LINE = 64  # bytes of a cache line

_lock = threading.Lock()  # held while launches are recorded
current: Recording | None = None  # what is recorded, by whichever thread


class Step(NamedTuple):
    """One launch of a kernel's function.

    Attributes:
        part: the address of the function that a thread calls for its part.
        data: a copy of what it is given.
        threads: how many parts there are.
        counted: what it added to the kernel's total.
    """

    part: int
    data: np.ndarray
    threads: int
    counted: int


class Recording:
    """The launches of the thread that made this object, in order.

    Attributes:
        threads: of the team that launches are recorded for.
        arena: the memory of large arrays.
        steps: the launches.
        before: what is done before them.
        after: what is done after them.
        kept: what they need besides.
        whole: whether there was nothing else.
    """

    def __init__(self, threads: int, arena: Arena):
        self.threads, self.arena, self.kept = threads, arena, []  # type: tuple[int, Arena, list[Any]]
        self.steps: list[Step] = []
        self.before: list[Callable[[], object]] = []
        self.after: list[Callable[[], object]] = []
        self.whole, self._thread = True, threading.get_ident()

    def here(self) -> bool:
        """Whether the calling thread is the one whose launches are recorded."""
        return threading.get_ident() == self._thread

    def launches_alone(self) -> bool:
        """Whether there was nothing else."""
        return self.whole and not self.before and not self.after

    def arrays(self) -> dict[int, np.ndarray]:
        """The arrays that launches were given, by what owns their memory, but for the arena's."""
        return {id(owner): owner for owner in map(owner_of, _arrays(self.kept))}

    def keep(self, arguments: Any) -> None:
        """Keep the arrays alive that a launch is given, but for those whose memory is the arena's."""
        self.kept += [array for array in _arrays(arguments) if not self.arena.owns(array)]

    def note(self, part: int, data: int, threads: int, counted: int) -> None:
        """Note a launch that has been made."""
        size = Launched.from_address(data).size
        room = aligned(size)
        ctypes.memmove(room.ctypes.data, data, size)
        self.steps.append(Step(part, room, threads, counted))


def aligned(size: int) -> np.ndarray:
    """`size` bytes that begin with a cache line, zeros."""
    room = np.zeros(size + LINE, np.uint8)
    first = -room.ctypes.data % LINE
    return room[first : first + size]


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)


def owner_of(array: np.ndarray) -> np.ndarray:
    """The array that owns an array's memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def recording() -> Recording | None:
    """The recording of the calling thread's launches, if there is one."""
    found = current
    return found if found is not None and found.here() else None


def not_recorded() -> None:
    """For what computes numbers between launches: they would not be computed when these are made again."""
    found = recording()
    if found is not None:
        found.whole = False


def before(function: Callable[[], object]) -> None:
    """Do what writes to arrays that launches read, now, and each time before they are made again.

    Precondition: it depends on nothing that launches write; its arrays are not `arrays.empty`'s, whose memory others
    have had.
    """
    function()
    found = recording()
    if found is not None:
        found.before.append(function)


def after(function: Callable[[], object]) -> None:
    """Do what reads arrays that launches write, now, and each time after they have been made again.

    Precondition: nothing that launches read depends on it. It keeps the arrays that it reads.
    """
    function()
    found = recording()
    if found is not None:
        found.after.append(function)


@contextlib.contextmanager
def recorded(threads: int, arena: Arena) -> Iterator[Recording | None]:
    """Record the launches that the calling thread makes inside the block; None where they are recorded already.

    The arena is not in use by another recording meanwhile.

    One thread at a time does so; another one waits some milliseconds.
    """
    global current
    if recording() is not None:
        yield None
        return
    _lock.acquire()
    try:
        recorded_by(ctypes.cast(_run, ctypes.c_void_p).value or 0)
        current = Recording(threads, arena)
        with arena.in_use():
            yield current
    finally:
        current = None
        _lock.release()


def _after_fork() -> None:
    """Another thread of the parent may have recorded."""
    global _lock, current
    _lock, current = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

_Part = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
_Loop = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 3)


@_Loop
def _run(
    part: int, places: int, counts: int, steps: int, data: int, dimensions: int, arrays: int, threads: int
) -> None:  # fmt: skip
    """For compiled code: make a launch, and note it."""
    found, head = recording(), Launched.from_address(data)
    total = ctypes.c_int64.from_address(head.total)
    before = total.value
    if threads == 1:
        _Part(part)(places, counts, steps, data)
    else:
        _Loop(loop_of_threads())(part, places, counts, steps, data, dimensions, arrays, threads)
    if found is not None:
        found.note(part, data, threads, total.value - before)
