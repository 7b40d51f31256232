"""Reference loops: what a benchmark's time is divided by, so that clock, neighbours and throttling cancel."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

# 256 KiB for each thread: of the second-level cache
COPIED = 65536
PAGE = 4096
# steps, or passes over the items, in one call: some 100 µs
STEPS = {"multiply-adds": 25_000, "copies": 25}


@numba.njit(parallel=True, cache=True, fastmath={"contract"})
def _multiply_adds(results, steps):
    # in registers alone: where arrays happen to lie makes a loop over them up to half as fast again
    for t in numba.prange(results.size):
        a = b = c = d = e = f = g = h = np.float32(t)
        half, one = np.float32(0.5), np.float32(1)
        for _ in range(steps):
            a, b, c, d = a * half + one, b * half - one, c * half + half, d * half - half
            e, f, g, h = e * half + a, f * half + b, g * half + c, h * half + d
        results[t] = a + b + c + d + e + f + g + h


@numba.njit(parallel=True, cache=True)
def _copies(source, target, passes):
    for t in numba.prange(source.shape[0]):
        for k in range(passes):
            for i in range(source.shape[1]):
                target[t, i] = source[t, i] + np.float32(k)


def _aligned(shape: tuple[int, int]) -> np.ndarray:
    """Zeros that begin with a page of memory."""
    size = 4 * shape[0] * shape[1]
    store = np.zeros(size + PAGE, np.uint8)
    start = -store.ctypes.data % PAGE
    return store[start : start + size].view(np.float32).reshape(shape)


def reference_loop(kind: str, threads: int) -> Callable[[], None]:
    """A call of some 100 µs of "multiply-adds" or "copies", as much work on each of `threads` threads; compiled.

    It is Numba's own code, so that no commit of fastconv can change it.
    """
    steps = STEPS[kind]
    results, source, target = np.zeros(threads, np.float32), _aligned((threads, COPIED)), _aligned((threads, COPIED))

    def loop() -> None:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            if kind == "copies":
                _copies(source, target, steps)
            else:
                _multiply_adds(results, steps)
        finally:
            numba.set_num_threads(before)

    loop()
    return loop
