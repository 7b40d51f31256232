"""Forks after use, during use and during compilation; pools that fork or start their processes in any other way.

Each child says what it computed, within a time. What the parent has computed itself, a forked child must not compile.
"""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from test_promises import CALLS, results, sample

import fastconv
from fuzzing import child
from fuzzing.hunt import Findings, Hunt

SECONDS = 100.0
SCRIPT = "import sys; from fuzzing import forks; forks.work_through(sys.argv[1])"
NAMES = ("relu", "max_pool2d", "conv2d direct", "linear")  # of a short run; a long one takes all
SHORT = 10
LAYERS = ("omp", "workqueue")


def compute(name: str) -> bytes:
    """A call's results, in whichever process."""
    return b"".join(np.ascontiguousarray(array).tobytes() for array in results(name, sample()))


def _compile_something(number: int) -> int:
    """Compile a function that nobody has compiled, and call it."""
    return int(numba.njit(lambda x: x * number + 1)(2))


def _told(name: str, right: bytes) -> str:
    return "right" if compute(name) == right else "other bits"


def _refuse(*arguments: object) -> None:
    raise AssertionError("something is compiled")


def _after(name: str, rng: np.random.Generator) -> str:
    right = compute(name)
    fastconv.relu(np.ones(9))  # on threads, which small arrays of other functions do not start

    def work() -> str:
        from numba.core import dispatcher

        dispatcher._FunctionCompiler.compile = _refuse
        said, threads = _told(name, right), fastconv.get_num_threads()
        return said if threads == 1 else f"{threads} threads"

    return child.in_fork(work, SECONDS)


def _grandchild(name: str, rng: np.random.Generator) -> str:
    right = compute(name)
    return child.in_fork(lambda: child.in_fork(lambda: _told(name, right), SECONDS), SECONDS)


def _in_threads_of_a_child(name: str, rng: np.random.Generator) -> str:
    right = compute(name)

    def work() -> str:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return " ".join(sorted(set(pool.map(lambda _: _told(name, right), range(8)))))

    return child.in_fork(work, SECONDS)


def _beside(task: Callable[[], object], name: str, rng: np.random.Generator, compiles: bool) -> str:
    """Fork while two other threads do a task over and over."""
    right, stop = compute(name), threading.Event()

    def over_and_over() -> None:
        while not stop.is_set():
            task()

    threads = [threading.Thread(target=over_and_over) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(rng.random() / 2)
        number = int(rng.integers(10**9))
        said = child.in_fork(
            lambda: _told(name, right) if not compiles or _compile_something(number) == 2 * number + 1 else "no",
            SECONDS,
        )
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return said if compute(name) == right else "other bits in the parent"


def _during_use(name: str, rng: np.random.Generator) -> str:
    return _beside(lambda: compute(name), name, rng, compiles=False)


def _during_compilation(name: str, rng: np.random.Generator) -> str:
    numbers = iter(range(int(rng.integers(10**6)), 10**9))
    return _beside(lambda: _compile_something(next(numbers)), name, rng, compiles=True)


def _pool(method: str, name: str, rng: np.random.Generator) -> str:
    right = compute(name)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map_async(compute, [name] * 4).get(SECONDS)
    return "right" if found == [right] * 4 else "other bits"


def _executor(name: str, rng: np.random.Generator) -> str:
    right = compute(name)
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        found = list(pool.map(compute, [name] * 4, timeout=SECONDS))
    return "right" if found == [right] * 4 else "other bits"


def _joblib(name: str, rng: np.random.Generator) -> str:
    try:
        import joblib
    except ImportError:
        return "right"  # there is nothing to try
    right = compute(name)
    found = joblib.Parallel(n_jobs=2, timeout=SECONDS)(joblib.delayed(compute)(name) for _ in range(4))
    return "right" if found == [right] * 4 else "other bits"


KINDS: dict[str, Callable[[str, np.random.Generator], str]] = {
    "fork after use": _after,
    "fork during compilation": _during_compilation,
    "fork during use": _during_use,
    "Pool": lambda name, rng: _pool("fork", name, rng),
    "ProcessPoolExecutor": _executor,
    "forkserver": lambda name, rng: _pool("forkserver", name, rng),
    "fork of a fork": _grandchild,
    "threads of a fork": _in_threads_of_a_child,
    "spawn": lambda name, rng: _pool("spawn", name, rng),
    "joblib": _joblib,
}
RARE = ("spawn", "forkserver", "joblib")  # whose processes import everything again: every third of these cases


def work_through(cases: str) -> None:
    """Make the cases in order; a line before and after each."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of forking with threads: that is what is tried
    for case in json.loads(cases):
        print(json.dumps(case), flush=True)
        try:
            said = KINDS[case["kind"]](case["name"], np.random.default_rng(case["seed"]))
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:500].replace("\n", " ")
        print(said, flush=True)
    os._exit(0)  # pools that hang would keep it


def drawn(count: int, seed: int) -> list[dict[str, Any]]:
    """Cases of every kind in turn."""
    rng, names = np.random.default_rng(seed), NAMES if count <= SHORT else tuple(CALLS)
    kinds = [kind for third in range(3) for kind in KINDS if third == 0 or kind not in RARE]
    return [
        {
            "kind": kinds[number % len(kinds)],
            "name": names[int(rng.integers(len(names)))],
            "seed": int(rng.integers(2**31)),
        }
        for number in range(count)
    ]


def run(count: int, seed: int, findings: Findings) -> None:
    """So many cases, half in each threading layer."""
    cases = drawn(count, seed)
    for layer, own in zip(LAYERS, (cases[::2], cases[1::2])):
        while own:
            process = child.start(SCRIPT, json.dumps(own), NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")
            try:
                child.output(process, 300 + SECONDS * len(own))
                ended = "ended without a word"
            except AssertionError as error:
                ended = str(error)
            lines = process.said().splitlines()
            for case, said in zip(own, lines[1::2] + [ended] * (len(lines) < 2 * len(own))):
                with findings.case(case["kind"], f"{layer}: {json.dumps(case)}"):
                    assert said == "right", said
            own = own[max(1, -(-len(lines) // 2)) :]


HUNT = Hunt(
    promise="a forked process computes the same bits, without a hang and without compiling what its parent has run,"
    " whenever it was forked; so do pools of processes started in any way",
    how="os.fork after use, during use and during compilation, from a fork and with threads; Pool, ProcessPoolExecutor,"
    " forkserver, spawn, joblib",
    run=run,
    short=SHORT,
    long=100,
)
