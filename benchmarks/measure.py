"""How the benchmarks measure: threads, the smallest of several times, two backends in turn."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numba

import fastconv
from benchmarks import cases, counters
from benchmarks.loops import reference_loop
from benchmarks.rounds import Samples, calls_for, low, samples_in_turn

# Threads of a BLAS or of OpenMP spin for a while after their last work; measured beside them, a kernel of 0.4 ms takes
# 8 ms. So the two sides run in blocks with a rest between them.
REST = 0.3
# seconds in which a time is compared with its reference loop
IN_LOOPS = 0.5


# what a benchmark runs on; not a number, so that graphs of machines with more threads have the same names
THREADS = (1, "all")


class Timed:
    """What the asv classes with `time_` methods share; asv's defaults would spend 20 s on each.

    For each `time_call` there is a `track_call_in_loops`, the time over that of a loop of the same kind, and where the
    system counts them, a `track_call_instructions` and a `track_call_cache_misses` of the calling thread.
    """

    timeout = 120.0
    warmup_time = 0  # setup has made every call once
    repeat = (3, 30, 0.5)
    rounds = 2
    reference = "multiply-adds"  # or "copies", of what moves numbers more than it computes

    def __init_subclass__(cls) -> None:
        for name in [name for name in vars(cls) if name.startswith("time_")]:
            call = name.removeprefix("time_")
            setattr(cls, f"track_{call}_in_loops", _tracked(name, "reference loops", _in_loops))
            for event in counters.offered():
                count = functools.partial(_count, counters.EVENTS[event])
                setattr(cls, f"track_{call}_{event}", _tracked(name, event.replace("_", " "), count))


def _tracked(name: str, unit: str, figure: Callable[[Callable[[], Any], str], float]) -> Callable[..., float]:
    def track(self: Timed, *params: Any) -> float:
        return figure(functools.partial(getattr(self, name), *params), self.reference)

    track.unit = unit  # type: ignore[attr-defined]
    return track


def in_loops(call: Callable[[], Any], reference: str) -> float:
    """The time of a call over that of its reference loop, of the tenth of each that is lowest, measured in turn."""
    loop, calls = reference_loop(reference, fastconv.get_num_threads()), calls_for(call)
    found, end = Samples([], []), time.perf_counter() + IN_LOOPS
    while not found.call or time.perf_counter() < end:
        more = samples_in_turn(call, loop, calls, 5)
        found.call.extend(more.call)
        found.loop.extend(more.loop)
    return low(found.call) / low(found.loop)


def _in_loops(call: Callable[[], Any], reference: str) -> float:
    return in_loops(call, reference)


def _count(event: tuple[int, int], call: Callable[[], Any], reference: str) -> float:
    if fastconv.get_num_threads() > 1:
        raise NotImplementedError("the other threads are not counted")
    return counters.counted(event, call)


class Tracked:
    """What the classes with ratios share: fastconv's time over the NumPy backend's, because asv takes more as worse."""

    timeout = 120.0
    unit = "x"


def use_threads(threads: int | str) -> None:
    """Run kernels on one thread or on "all"; a benchmark that wants more than there are is skipped."""
    if isinstance(threads, str):
        threads = max(2, numba.config.NUMBA_NUM_THREADS)
    if threads > numba.config.NUMBA_NUM_THREADS:
        raise NotImplementedError(f"this machine has {numba.config.NUMBA_NUM_THREADS} threads")
    fastconv.set_num_threads(threads)


@functools.cache
def warmed(kind: str | type, *args: Any) -> Any:
    """A case by its name, ready to be timed; asv repeats `setup` before each call, so it is made once."""
    case = getattr(cases, kind) if isinstance(kind, str) else kind
    return case(*args).warmed()


def compile_all(kind: str, name: str | None = None) -> None:
    """Fill the disk cache of the kernels in a process that nothing else is measured in."""
    for dtype in cases.DTYPES:
        getattr(cases, kind)(*(() if name is None else (name,)), dtype).warmed()


def smallest(call: Callable[[], Any], budget: float, least: int = 3) -> float:
    """The smallest time of a call, in seconds; it is repeated `least` times and on until `budget` seconds are spent."""
    best, spent, calls = float("inf"), 0.0, 0
    while calls < least or spent < budget:
        begin = time.perf_counter()
        call()
        took = time.perf_counter() - begin
        best, spent, calls = min(best, took), spent + took, calls + 1
    return best


class Times(NamedTuple):
    """Seconds of both sides."""

    fastconv: float
    numpy: float


def against_numpy(
    fast: Callable[[], Any], slow: Callable[[], Any] | None = None, *, rounds: int = 2, budget: float = 0.1,
    rest: float | None = None,
) -> Times:  # fmt: skip
    """The smallest times of a call on the kernels and on the NumPy backend, measured in turn in this process.

    Args:
        fast: the call on the kernels, made once already.
        slow: the call on the NumPy backend; None is the same one.
        rounds: how often the sides take turns.
        budget: seconds of measuring in each block.
        rest: seconds between the blocks; None is `REST`.
    """
    rest = REST if rest is None else rest
    times = Times(float("inf"), float("inf"))
    for _ in range(rounds):
        ours = smallest(fast, budget)
        time.sleep(rest)
        with fastconv.use_backend("numpy"):
            theirs = smallest(slow or fast, budget)
        time.sleep(rest)
        times = Times(min(times.fastconv, ours), min(times.numpy, theirs))
    return times


def share_of_numpy(fast: Callable[[], Any], slow: Callable[[], Any] | None = None) -> float:
    """Fastconv's time over the NumPy backend's: below 1 is faster."""
    times = against_numpy(fast, slow)
    return times.fastconv / times.numpy
