"""Fastconv and its peers side by side: equal results first, then their times, in turn."""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.problems import OPERATIONS
from benchmarks.workers import Worker, WorkerError

# of the largest value of a result: sums of 200,000 products in another order differ by 1e-5 of it
TOLERANCE = 1e-4


def say(message: str) -> None:
    """A line for the person at the terminal, not for the file."""
    tqdm.write(f"peers.py: {message}", file=sys.stderr)


@contextlib.contextmanager
def started(
    names: Sequence[str], threads: int, script: Path, flags: Sequence[str] = (), isa: str | None = None
) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """The processes of the libraries that are installed, which run `script` with `flags`, and why others are not.

    Each keeps to the instruction set, if one is given.
    """
    workers: dict[str, Worker] = {}
    absent: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                worker = Worker(name, threads, script, flags, isa)
            except ValueError as error:
                absent[name] = str(error)
                say(f"{name} is left out: {error}")
                continue
            stack.callback(worker.close)
            if worker.absent:
                absent[name] = worker.absent
                say(f"{name} is left out: {worker.absent}")
            else:
                workers[name] = worker
        if "fastconv" not in workers:
            raise WorkerError("without fastconv there is nothing to compare with")
        yield workers, absent


def differs(ours: Path, theirs: Path) -> str | None:
    """What is different in two saved results; None if they are equal but for rounding."""
    with np.load(ours) as expected, np.load(theirs) as found:
        for name in expected.files:
            a, b = expected[name], found[name]
            if a.shape != b.shape:
                return f"its shape is {b.shape}, not {a.shape}"
            error = np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(np.float32).tiny)
            if not error <= TOLERANCE:  # NaN is different
                return f"it is off by {error:.1e} of the largest value"
    return None


class Comparison:
    """Asks the libraries for one row after another; what went wrong is in `errors`."""

    def __init__(self, workers: dict[str, Worker], repeats: int, rounds: int, block: float):
        self.workers, self.errors = workers, list[str]()
        self.repeats, self.rounds, self.block = repeats, rounds, block

    def row(self, operation: str, name: str) -> dict[str, Any] | None:
        """The times of one operation on one shape; None if fastconv does not have the operation, or failed."""
        with tempfile.TemporaryDirectory() as folder:
            ready = self._prepared(operation, name, Path(folder))
        if "fastconv" not in ready:
            return None
        seconds: dict[str, list[float]] = {library: [] for library in ready}
        cores = dict.fromkeys(ready, 0.0)
        for turn in range(self.rounds):
            for library in ready if turn % 2 == 0 else reversed(ready):
                if library in self.workers:
                    with self._noting():
                        measured = self.workers[library].ask("measure", repeats=self.repeats)
                        seconds[library] += measured["seconds"]
                        cores[library] = max(cores[library], measured["cores"])
        shape = OPERATIONS[operation].shapes[name]
        best = {library: min(times) for library, times in seconds.items() if times}
        if "fastconv" not in best:
            return None
        return {
            "operation": operation,
            "shape": name,
            "sizes": str(shape),
            "groups": getattr(shape, "groups", 1),
            "flops": getattr(shape, "flops", None),
            "seconds": best,
            "cores": cores,
            "spread": {library: statistics.median(seconds[library]) / least for library, least in best.items()},
            "ratio": {library: least / best["fastconv"] for library, least in best.items() if library != "fastconv"},
        }

    def _prepared(self, operation: str, name: str, folder: Path) -> list[str]:
        """The libraries that have the operation and compute what fastconv computes."""
        ready = []
        for library, worker in list(self.workers.items()):
            saved = folder / f"{library}.npz"
            with self._noting():
                asked = {"operation": operation, "shape": name, "block": self.block, "save": str(saved)}
                if worker.ask("prepare", **asked)["supported"]:
                    wrong = differs(folder / "fastconv.npz", saved)
                    if wrong:
                        raise WorkerError(f"{library}'s result of {operation} on {name} is not fastconv's: {wrong}")
                    ready.append(library)
            if not ready:
                break  # fastconv, the first, is what the others are compared with
        return ready

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            self.errors.append(str(error))
            say(str(error))
            if self.workers["fastconv"].process.poll() is not None:
                raise
            self.workers = {name: worker for name, worker in self.workers.items() if worker.process.poll() is None}
