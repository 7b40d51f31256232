"""Every public function in eight threads at once, in each threading layer, also inside `prange` loops of users.

A case is a round: every function once in each thread, in an order, with numbers of threads that each thread draws.
"""

from __future__ import annotations

import ctypes.util
import threading

import numba
import numpy as np
from test_promises import CALLS, results, sample

import fastconv
from fuzzing import child
from fuzzing.hunt import Findings, Hunt

THREADS = 8
SCRIPT = "import sys; from fuzzing import threads; threads.work(*map(int, sys.argv[1:]))"
DTYPES = (np.float32, np.float64)


def layers() -> list[str]:
    """The threading layers that are installed."""
    return ["omp", "workqueue", *(["tbb"] if ctypes.util.find_library("tbb") else [])]


def work(rounds: int, seed: int) -> None:
    """Make the calls, and say how many of them were right, and what was wrong."""
    arrays = {dtype: sample(dtype) for dtype in DTYPES}
    with fastconv.num_threads(1):
        right = {(name, dtype): _bits(name, arrays[dtype]) for dtype in DTYPES for name in CALLS}
    for number in range(rounds):
        failures: list[str] = []
        barrier = threading.Barrier(THREADS)

        def one(thread: int, number: int = number, failures: list[str] = failures, barrier=barrier) -> None:  # type: ignore[no-untyped-def]
            rng = np.random.default_rng((seed, number, thread))
            dtype = DTYPES[int(rng.integers(2))]
            barrier.wait()
            for name in rng.permutation(sorted(CALLS)):
                own, ours = (int(n) for n in rng.integers(1, numba.config.NUMBA_NUM_THREADS + 1, 2))
                numba.set_num_threads(own)
                try:
                    if rng.random() < 0.5:
                        with fastconv.num_threads(ours):
                            same = _bits(str(name), arrays[dtype]) == right[name, dtype]
                    else:
                        same = _bits(str(name), arrays[dtype]) == right[name, dtype]
                    if not same or numba.get_num_threads() != own:
                        failures.append(f"{name}: {'other bits' if not same else 'another number of threads'}")
                except Exception as error:
                    failures.append(f"{name}: {type(error).__name__}: {error}")

        threads = [threading.Thread(target=one, args=(thread,)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"seed {seed}, round {number}: {', '.join(failures[:5]) or 'right'}", flush=True)
    print(f"prange: {nested(seed, rounds)}", flush=True)
    print(numba.threading_layer(), flush=True)


@numba.njit(parallel=True, cache=True)
def _every_image(frames, found):  # type: ignore[no-untyped-def]
    for i in numba.prange(len(frames)):
        found[i] = fastconv.max_pool2d(fastconv.relu(frames[i]), 2)


def nested(seed: int, rounds: int) -> str:
    """Calls inside a user's `prange`, which Numba's own layer takes from one thread at a time."""
    rng = np.random.default_rng(seed)
    callers = 1 if numba.threading_layer() == "workqueue" else 4
    wrong: list[str] = []

    def one(frames: np.ndarray) -> None:
        expected, found = fastconv.max_pool2d(fastconv.relu(frames), 2), np.empty((*frames.shape[:2], 4, 5), np.float32)
        for _ in range(10 * rounds):
            _every_image(frames, found)
            if found.tobytes() != expected.tobytes():
                wrong.append("other bits")

    batches = [rng.standard_normal((9, 3, 8, 10)).astype(np.float32) for _ in range(callers)]
    for batch in batches[:1]:
        one(batch)
    threads = [threading.Thread(target=one, args=(batch,)) for batch in batches[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ", ".join(wrong[:3]) or "right"


def _bits(name: str, arrays: dict[str, np.ndarray]) -> bytes:
    return b"".join(np.ascontiguousarray(array).tobytes() for array in results(name, arrays))


def run(rounds: int, seed: int, findings: Findings) -> None:
    """So many rounds in each threading layer."""
    for layer in layers():
        process = child.start(SCRIPT, rounds, seed, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4")
        with findings.case("threading layer", f"{layer}, seed {seed}"):
            *lines, used = child.output(process, 600 + 60 * rounds).splitlines()
            assert used == layer and len(lines) == rounds + 1, lines[-2:]
            for line in lines:
                with findings.case("round in prange" if line.startswith("prange") else "round", f"{layer}, {line}"):
                    assert line.endswith(": right"), line
            findings.counts["call"] += rounds * THREADS * len(CALLS)


HUNT = Hunt(
    promise="every function gives the same bits in eight threads at once as alone, in each threading layer and inside"
    " users' prange loops, and leaves Numba's number of threads as it was",
    how="rounds in which eight threads call every function, each in its own order and on its own numbers of threads",
    run=run,
    short=1,
    long=50,
)
