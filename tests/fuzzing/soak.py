"""Calls, training and threads for a long time, in one process whose memory, files and threads are watched.

A case is a second of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from test_promises import CALLS, results, sample

import fastconv
from fastconv import models, optim
from fastconv.training import fit, predict, train_step
from fuzzing import child
from fuzzing.hunt import Findings, Hunt

# The first part of the time compiles, fills the caches of geometries (1,024 each) and lets the heap find its size.
WARM = 0.4
# An allowance for the movement of a heap without a leak. Of 10,000 calls in two minutes a leak of 800
# bytes each is seen, of 150,000 in half an hour one of 60.
TOLERANCE = 8 * 2**20
SCRIPT = "import sys; from fuzzing import soak; soak.work(float(sys.argv[1]), int(sys.argv[2]))"


def usage() -> dict[str, int]:
    """Resident memory in bytes, open handles, threads of the process."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # of another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)  # what is free, but kept by the C library, is no leak
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


def _every_call(rng: np.random.Generator) -> None:
    arrays = sample(rng.choice([np.float32, np.float64]))
    for name in CALLS:
        results(name, arrays)


def _shapes_never_seen(rng: np.random.Generator) -> None:
    for _ in range(20):
        n, c, oc, k = (int(size) for size in rng.integers(1, (4, 9, 20, 6)))
        h, w = (int(size) for size in rng.integers(8, 70, 2))
        x, weight, padding = np.ones((n, c, h, w), np.float32), np.ones((oc, c, k, k), np.float32), int(rng.integers(3))
        y = fastconv.conv2d(x, weight, padding=padding)
        fastconv.conv2d_backward(y, x, weight, padding=padding)
        fastconv.max_pool2d(y, 1 + (k > 1), int(rng.integers(1, 3)))


def _wrong_calls(rng: np.random.Generator) -> None:
    for arguments in (
        (np.ones((1, 2, 3, 3)), np.ones((1, 1, 9, 9))),
        ([1.0], None),
        (np.ones((1, 1, 2, 2), "S1"),) * 2,
    ):
        try:
            fastconv.conv2d(*arguments)
        except (ValueError, TypeError):
            continue
        raise AssertionError("an error was expected")


def _training(rng: np.random.Generator) -> None:
    model = (models.lenet5, models.simple_convnet, models.small_resnet)[int(rng.integers(3))](rng=0)
    images, labels = rng.random((40, 1, 28, 28), np.float32), rng.integers(0, 10, 40)
    optimizer = optim.SGD(model.parameters(), 0.01, 0.9) if rng.random() < 0.5 else optim.Adam(model.parameters())
    for count in (1, 7, 32, 40):
        train_step(model, images[:count], labels[:count], optimizer)
    fit(model, (images, labels), optimizer=optimizer, epochs=1, batch_size=16, rng=0)
    predict(model, images)


def _threads(rng: np.random.Generator) -> None:
    arrays, names = sample(), [str(name) for name in rng.choice(sorted(CALLS), 8)]
    threads = [threading.Thread(target=results, args=(name, arrays)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _numbers_of_threads(rng: np.random.Generator) -> None:
    for n in (1, 2, 1, 2):
        with fastconv.num_threads(n):
            fastconv.relu(np.ones((1, 1, 300, 300), np.float32))


WORK: tuple[Callable[[np.random.Generator], None], ...] = (
    _every_call, _shapes_never_seen, _wrong_calls, _training, _threads, _numbers_of_threads,
)  # fmt: skip


def work(seconds: float, seed: int) -> None:
    """Work for so long after everything is compiled, and say what was used: a JSON line for each of 200 moments."""
    rng = np.random.default_rng(seed)
    fastconv.warmup()  # what is compiled when a rare shape comes would look like a leak
    for each in WORK * 3:
        each(rng)
    start, calls, said = time.perf_counter(), 0, 0
    while (passed := time.perf_counter() - start) < seconds:
        WORK[int(rng.integers(len(WORK)))](rng)
        calls += 1
        if passed * 200 >= said * seconds:
            said += 1
            print(json.dumps({"passed": passed / seconds, "rounds": calls, **usage()}), flush=True)


def judge(moments: list[dict[str, Any]]) -> None:
    """Memory, handles and threads at the end as they were when the warm part ended."""
    after = [moment for moment in moments if moment["passed"] >= WARM]
    quarter = max(1, len(after) // 4)
    first, last = (np.median([moment["memory"] for moment in part]) for part in (after[:quarter], after[-quarter:]))
    assert last - first <= TOLERANCE, f"memory grew from {first / 2**20:.1f} to {last / 2**20:.1f} MiB"
    for kind in ("handles", "threads"):
        first, last = (max(moment[kind] for moment in part) for part in (after[:quarter], after[-quarter:]))
        assert last <= first, f"{kind} grew from {first} to {last}"


def run(seconds: int, seed: int, findings: Findings) -> None:
    """Soak for so many seconds."""
    process = child.start(SCRIPT, seconds, seed, NUMBA_NUM_THREADS="2")
    with findings.case("run", f"seed {seed}, {seconds} s"):
        moments = [json.loads(line) for line in child.output(process, 2 * seconds + 900).splitlines()]
        findings.counts["second"] += seconds
        findings.counts["round of calls"] += moments[-1]["rounds"]
        print(f"soak: from {moments[0]} to {moments[-1]}", flush=True)
        judge(moments)


HUNT = Hunt(
    promise="memory, open handles and threads stay as they are, however long calls, training and threads go on",
    how=f"six kinds of work drawn by the seed; medians of the last part of the time against those after {WARM:.0%},"
    f" {TOLERANCE // 2**20} MiB for the heap's own movement, nothing for handles and threads",
    run=run,
    short=120,
    long=1800,
)  # fmt: skip
