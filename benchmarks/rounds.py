"""Samples of a call and of its reference loop, in turn, in many short rounds."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

# Seconds that a sample takes at least: shorter than the slice that the scheduler gives a process beside a busy one,
# so that some samples are not interrupted, and so long that the clock's own 100 ns are not seen.
SAMPLE = 0.001


class Samples(NamedTuple):
    """Seconds of one call, for each sample of the call and for each of its reference loop."""

    call: list[float]
    loop: list[float]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """No garbage collection in the middle of a sample."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def sample(call: Callable[[], Any], calls: int) -> float:
    """The mean time of one of `calls` calls, in seconds."""
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls


def calls_for(call: Callable[[], Any], seconds: float = SAMPLE) -> int:
    """How many calls make a sample of that length in seconds."""
    calls = 1
    while True:
        took = calls * min(sample(call, calls) for _ in range(3))
        if took >= 0.8 * seconds:
            return calls
        calls = max(calls + 1, min(10 * calls, math.ceil(calls * seconds / max(took, 1e-9))))


def samples_in_turn(call: Callable[[], Any], loop: Callable[[], Any], calls: int, rounds: int) -> Samples:
    """A sample of the reference loop and one of the call, in turn."""
    found = Samples([], [])
    with without_collector():
        call()  # the caches are another's after a pause
        for _ in range(rounds):
            found.loop.append(sample(loop, 1))
            found.call.append(sample(call, calls))
    return found


def low(times: Sequence[float], share: float = 0.1) -> float:
    """The quantile below which that share of the times lie, the smallest of few."""
    return sorted(times)[int(share * (len(times) - 1))]
