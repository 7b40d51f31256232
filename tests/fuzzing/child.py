"""Processes of a hunt's own: started afresh, watched for a time, and told apart by how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS), str(TESTS.parent)])


def start(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A Python process that runs a script, with the tests and the package on its path, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": PATH, **environment}, cwd=TESTS / "fuzzing",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> None:
    """End a process that was started here, with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def output(process: subprocess.Popen[str], seconds: float) -> str:
    """What a process says; an AssertionError if it fails, dies or takes longer than so many seconds."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        end(process)
        raise AssertionError(f"no end after {seconds:.0f} s") from None
    finally:
        end(process)  # and what it may have left
    assert process.returncode == 0, f"ended with {process.returncode}: {err.strip()[-1500:]}"
    return out


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
