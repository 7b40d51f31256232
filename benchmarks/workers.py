"""A process for each library, asked in turn over a pipe: none of them runs, or spins, while another is measured."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.isa import check, environment
from benchmarks.libraries import LIBRARIES, Library
from benchmarks.peak import peak_gflops
from benchmarks.problems import Problem, problem


def blocks(call: Callable[[], Any], inner: int, repeats: int) -> list[float]:
    """The seconds of one call, as the mean of a block of `inner` calls, for each of `repeats` blocks."""
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(inner):
            call()
        found.append((time.perf_counter() - begin) / inner)
    return found


def calibrated(call: Callable[[], Any], seconds: float) -> int:
    """How many calls make a block of about that length in seconds."""
    inner = 1
    while (took := inner * blocks(call, inner, 1)[0]) < 0.8 * seconds:
        inner = min(10 * inner, max(inner + 1, math.ceil(inner * seconds / max(took, 1e-9))))
    return inner


def warm_heap() -> None:
    """Let the C library keep blocks of up to 31 MiB instead of returning each to the system, as after some training.

    Otherwise large results are mapped and cleared anew in every call, or not, by what else was measured before. PyTorch
    takes 0.9 ms for the first layer of VGG, or 4.3 ms with the 6,200 page faults of two blocks of 12.8 MB; fastconv
    and JAX keep memory of their own.
    """
    np.empty(31 << 20, np.uint8)  # freed at once; glibc takes the largest block freed so far for its threshold


def settle(patience: float = 1.0) -> None:
    """Return when the threads of this process have stopped spinning for more work, after `patience` s at the latest.

    They spin for 5 to 30 ms by default, and are not told not to: without it, PyTorch takes 20 % longer for a small
    layer. But it must not be at another library's cost.
    """
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(0.02)
        if time.process_time() - used < 0.001:
            return


class Server:
    """Answers requests in the process of one library."""

    def __init__(self, library: Library):
        self.library, self.call, self.inner = library, lambda: None, 1

    def prepare(self, operation: str, shape: str, block: float, save: str) -> dict[str, Any]:
        """Make the arrays and the call, save its result and find out how many calls a block is made of."""
        self.call = lambda: None  # the last one's arrays are no longer needed
        asked: Problem = problem(operation, shape)
        call = self.library.call(operation, asked)
        if call is None:
            return {"supported": False}
        np.savez(save, *self.library.arrays(call(), asked))
        self.call, self.inner = call, calibrated(call, block)
        return {"supported": True, "inner": self.inner}

    def measure(self, repeats: int) -> dict[str, Any]:
        """The seconds of one call, in each of some blocks, and how many processors they kept busy.

        One more block before them wakes the threads and fills the caches.
        """
        blocks(self.call, self.inner, 1)
        used, begin = time.process_time(), time.perf_counter()
        seconds = blocks(self.call, self.inner, repeats)
        return {"seconds": seconds, "cores": (time.process_time() - used) / (time.perf_counter() - begin)}

    def peak(self) -> dict[str, Any]:
        """The peak of the threads in use, in GFLOP/s."""
        return {"gflops": peak_gflops()}

    def answer(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Do what is asked; an error is an answer too, because the other operations may go well."""
        try:
            return getattr(self, do)(**arguments)
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        finally:
            settle()


def serve(name: str, threads: int, warm: bool, isa: str | None = None) -> None:
    """The worker's side: one JSON object a line, requests in and answers out, until the input ends."""
    if warm:
        warm_heap()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between the answers
        try:
            library = LIBRARIES[name](threads)
            check(name, isa)
        except (ImportError, OSError) as error:  # the latter where a shared library does not load
            _say(answers, {"absent": str(error)})
            return
        server = Server(library)
        _say(answers, {"version": library.version})
        with contextlib.suppress(KeyboardInterrupt):
            for line in sys.stdin:
                _say(answers, server.answer(**json.loads(line)))


def _say(stream: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=stream, flush=True)


class WorkerError(Exception):
    """A library's process has ended, or could not do what it was asked for."""


class Worker:
    """The asking side of one library's process."""

    def __init__(self, name: str, threads: int, script: Path, flags: Sequence[str] = (), isa: str | None = None):
        variables = ("NUMBA", "OMP", "OPENBLAS", "MKL")
        own = environment(name, isa) | {f"{variable}_NUM_THREADS": str(threads) for variable in variables}
        command = [sys.executable, str(script), "--worker", name, "--threads", str(threads), *flags]
        command += ["--isa", isa] if isa else []
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own)
        first = self._read()
        self.version, self.absent = first.get("version"), first.get("absent")

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One request and its answer; the process does nothing else, and nothing after it.

        Raises:
            WorkerError: the answer is an error, or there is none.
        """
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            _say(self.process.stdin, {"do": do, **arguments})
        answer = self._read()
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name}: its process ended with exit code {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process; it has nothing to lose."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
