"""The asking side of a commit's process, and pairs of such processes that take turns."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.tracking.builds import Build


class SideError(Exception):
    """A commit's process has ended, or cannot measure a row."""


class Skipped(SideError):
    """A benchmark does not want to be run here."""


class Side:
    """The process of one commit.

    Its messages are kept from the terminal unless it dies: rows that only the other commit has are no news of it.
    """

    def __init__(self, build: Build, layout: int = 0):
        self.build = build
        self.process = subprocess.Popen(
            [build.python, "-m", "benchmarks.tracking.worker", str(layout)], cwd=build.folder, env=build.variables(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._read()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One request and its answer.

        Raises:
            Skipped: the benchmark does not want to be run here.
            SideError: the answer is an error, or there is none.
        """
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        answer = self._read()
        if "skipped" in answer:
            raise Skipped(answer["skipped"])
        if "error" in answer:
            raise SideError(answer["error"])
        return answer

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SideError(f"its process ended with exit code {self.process.wait()}")
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


@contextlib.contextmanager
def started(*builds: Build, layout: int = 0) -> Iterator[list[Side]]:
    """Fresh processes of these commits, in the order in which they are started, with one layout of memory."""
    with contextlib.ExitStack() as stack:
        sides = []
        for build in builds:
            try:
                sides.append(Side(build, layout))
            except SideError as error:
                raise SideError(f"{build.name} ({build.commit[:8]}): {error}") from None
            stack.callback(sides[-1].close)
        yield sides


def say(message: str) -> None:
    """A line for the person at the terminal, not for the file."""
    print(f"regressions.py: {message}", file=sys.stderr, flush=True)
