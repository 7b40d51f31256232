"""The time until the first result: import and first calls, with an empty and with a full cache, and of shipped code.

Each is of a process of its own; what a wheel ships is measured where fastconv is installed from such a wheel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fastconv
from fastconv._runtime import shipped
from fastconv._wheel.first_calls import CALLS, SCRIPT

STATES = ("empty cache", "full cache", "shipped")


def said(call: str, folder: str, **options: str) -> dict[str, Any]:
    """What a process says of a first call."""
    source = str(Path(fastconv.__file__).parents[1])
    env = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": source, "FASTCONV_QUIET": "1"} | options
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, call], env=env, cwd=folder, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


class FirstCall:
    """Seconds beyond `import numba` of CPU time, and in all, until a first result is there."""

    timeout = 300.0
    unit = "s"
    processes_each = 3  # of which the quickest counts
    params = (list(CALLS), list(STATES))
    param_names = ("call", "code")

    def setup(self, call: str, state: str) -> None:
        if state == "shipped" and shipped.archive() is None:
            raise NotImplementedError("no code was shipped with this install")
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self, call: str, state: str) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def _best(self, call: str, state: str, what: str) -> float:
        options = {} if state == "shipped" else {"FASTCONV_SHIPPED_CODE": "0"}
        if state == "full cache":
            said(CALLS[call], self.folder.name, **options)
        runs = 1 if state == "empty cache" else self.processes_each
        return min(said(CALLS[call], self.folder.name, **options)[what] for _ in range(runs))

    def track_cpu(self, call: str, state: str) -> float:
        return self._best(call, state, "cpu")

    def track_wall(self, call: str, state: str) -> float:
        return self._best(call, state, "wall")


class Import:
    """Seconds of CPU time of `import fastconv` beyond `import numba`."""

    timeout = 60.0
    unit = "s"
    processes_each = 3

    def setup(self) -> None:
        """Nothing: each process finds an empty folder."""

    def track_cpu(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return min(said("pass", folder)["import"] for _ in range(self.processes_each))
