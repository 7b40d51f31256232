"""Processes of a hunt's own: started afresh, watched for a time, and told apart by how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS), str(TESTS.parent)])


@dataclass
class Started:
    """A process that was started here, in a group of its own; what it says goes to files, which no child keeps open."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    def end(self) -> None:
        """End it, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def said(self) -> str:
        """What it has said until now."""
        self.out.seek(0)
        return self.out.read().decode(errors="replace")


def start(script: str, *arguments: object, **environment: str) -> Started:
    """A Python process that runs a script, with the tests and the package on its path."""
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": PATH, **environment}, cwd=TESTS / "fuzzing",
        stdout=out, stderr=err, start_new_session=True,
    )  # fmt: skip
    return Started(process, out, err)


def output(started: Started, seconds: float) -> str:
    """What a process says; an AssertionError if it fails, dies or takes longer than so many seconds."""
    try:
        code = started.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"no end after {seconds:.0f} s") from None
    finally:
        started.end()  # and what it may have left
    started.err.seek(0)
    assert code == 0, f"ended with {code}: {started.err.read().decode(errors='replace').strip()[-1500:]}"
    return started.said()


def in_fork(work: Callable[[], str], seconds: float) -> str:
    """What `work` says in a child that is forked here; the signal or the time that ended it, if one did."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(work, writing, seconds)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        ended = signal.Signals(os.WTERMSIG(status))
        return f"no end after {seconds:.0f} s" if ended == signal.SIGALRM else f"died of {ended.name}"
    return said or f"ended with {os.WEXITSTATUS(status)} and no word"


def _work(work: Callable[[], str], writing: int, seconds: float) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        said = work()
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    os.write(writing, said.encode()[:60_000])
    os._exit(0)
