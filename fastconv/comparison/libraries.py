"""A network in fastconv and in other libraries: each in a process of its own, asked in turn."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from fastconv._runtime.threads import get_num_threads
from fastconv.comparison.networks import DEFAULT, NETWORKS
from fastconv.comparison.sides import EPOCH_BATCHES, SIDES, installed
from fastconv.config import VERSION

SETTLE_SECONDS = 0.3  # threads go on spinning for a while after their work
DISTRIBUTIONS = {"NumPy, float64": "numpy", "PyTorch": "torch", "ONNX Runtime": "onnxruntime"}


class _Side:
    """A library in a process of its own, which ends with its input where it is not ended before."""

    def __init__(self, name: str, process: subprocess.Popen[str]):
        self.name, self.process = name, process
        self.first = self._answer()  # its jobs, or the bytes of its steps

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"bench: the process for {self.name} ended with code {self.process.wait()}")
        return json.loads(line)

    def seconds(self, job: str) -> float:
        """The median time of a call."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and there is no answer
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        return self._answer()


@contextlib.contextmanager
def _started(
    names: Sequence[str], threads: int, batch_size: int, network: str, what: str
) -> Iterator[list[_Side]]:  # fmt: skip
    count = str(threads)
    limits = {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    with contextlib.ExitStack() as stack:
        sides = []
        for name in names:
            words = [sys.executable, "-m", "fastconv.comparison", name, count, str(batch_size), network, what]
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits},
                start_new_session=True,  # Ctrl-C is for the process that asks, which ends the others, compiling or not
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            sides.append(_Side(name, process))
        yield sides


def compare_libraries(
    batch_size: int | None = None, rounds: int = 3, libraries: Sequence[str] | None = None, network: str = DEFAULT
) -> dict[str, Any]:
    """Time a network in every library that is installed: SGD with momentum, float32.

    Args:
        batch_size: images a step; as many as suit the network where None.
        rounds: how often the libraries take turns; the smallest median of each counts.
        libraries: which of `sides.SIDES`; all that are installed where None.
        network: which of `networks.NETWORKS`: a name of `fastconv.models.MODELS`, or `small-resnet-wide`.

    Returns:
        A dictionary: `model`, `title`, `batch_size`, `threads`, `epoch_images`; `versions` by library; `seconds` and
        `ratio` (over fastconv's) by library and job: "step", "epoch" where it is timed, "1 image" and as "256 images"
        inference of many; `memory` by library: the bytes that a process needs for steps, beyond its imports.

    Raises:
        RuntimeError: the process of a library ended.
    """
    compared = NETWORKS[network]
    threads, names = get_num_threads(), installed() if libraries is None else list(libraries)
    batch_size = compared.batch_size if batch_size is None else batch_size
    best: dict[str, dict[str, float]] = {name: {} for name in names}
    with _started(names, threads, batch_size, network, "times") as sides:
        for _ in range(rounds):
            for job in compared.jobs:
                for side in sides:
                    if job in side.first:
                        time.sleep(SETTLE_SECONDS)
                        best[side.name][job] = min(best[side.name].get(job, float("inf")), side.seconds(job))
    own = best.get("fastconv", {})
    return {
        "model": network,
        "title": compared.title,
        "batch_size": batch_size,
        "threads": threads,
        "epoch_images": EPOCH_BATCHES * batch_size,
        "versions": {"fastconv": VERSION}
        | {name: importlib.metadata.version(DISTRIBUTIONS[name]) for name in names if name in DISTRIBUTIONS},
        "seconds": best,
        "ratio": {
            name: {job: seconds / own[job] for job, seconds in jobs.items() if job in own}
            for name, jobs in best.items()
            if name != "fastconv"
        },
        "memory": _memory(names, threads, batch_size, network),
    }


def _memory(names: Sequence[str], threads: int, batch_size: int, network: str) -> dict[str, int]:
    """In new processes one after another, after the others: what compiling takes is no part of a step."""
    found = {}
    for name in names:
        if SIDES[name].trains:
            with _started([name], threads, batch_size, network, "memory") as (side,):
                if side.first is not None:
                    found[name] = side.first
    return found


def _time(seconds: float) -> str:
    ms = 1e3 * seconds
    return (
        f"{ms:.3f} ms" if ms < 1 else f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 1e3 else f"{seconds:.2f} s"
    )


def table(found: dict[str, Any]) -> str:
    """What `compare_libraries` has found as a Markdown table, the times as long as fastconv's in brackets.

    The memory of a step has a column where no epoch is timed: small networks need next to none.
    """
    titles = {
        "step": f"training step, {found['batch_size']} images",
        "epoch": f"epoch, {found['epoch_images']:,} images",
    }
    jobs = list(next(iter(found["seconds"].values())))
    header = [found["title"], *(titles.get(job, f"inference, {job}") for job in jobs)]
    header += [] if "epoch" in jobs else ["memory of a step"]
    rows = []
    for name, seconds in found["seconds"].items():
        ratio = found["ratio"].get(name, {})
        cells = [
            f"{_time(seconds[job])}{f' ({ratio[job]:.1f}x)' if job in ratio else ''}" if job in seconds else "-"
            for job in jobs
        ]
        cells += [] if "epoch" in jobs else [_of_memory(found["memory"], name)]
        rows.append([name, *cells])
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        "| " + " | ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))]) + " |"
        for line in (header, rule, *rows)
    )


def _of_memory(memory: dict[str, int], name: str) -> str:
    if name not in memory:
        return "-"
    text, own = f"{memory[name] / 1e6:.0f} MB", memory.get("fastconv", 0)
    return f"{text} ({memory[name] / own:.1f}x)" if own and name != "fastconv" else text
