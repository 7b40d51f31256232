"""The time until the first result: import, first call with an empty and with a warm cache, each in new processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fastconv

# Seconds beyond `import numba`, which users of Numba pay anyway.
SCRIPT = """
import sys, time
import numba, numpy as np
begin = time.perf_counter()
import fastconv
if sys.argv[1] == "call":
    fastconv.conv2d(np.ones((1, 1, 8, 8), np.float32), np.ones((1, 1, 3, 3), np.float32))
print(time.perf_counter() - begin)
"""


def start(until: str, cache: str) -> float:
    """Seconds from the start of `import fastconv` to its end ("import") or to the end of a first conv2d ("call")."""
    source = str(Path(fastconv.__file__).parents[1])
    env = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": source}
    command = [sys.executable, "-c", SCRIPT, until]
    return float(subprocess.run(command, env=env, cwd=cache, check=True, capture_output=True, text=True).stdout)


class Start:
    """Seconds beyond `import numba`, the smallest of several processes."""

    timeout = 180.0
    unit = "s"
    processes_each = 3

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.folder.cleanup()

    def track_import(self) -> float:
        return min(start("import", self.folder.name) for _ in range(self.processes_each))

    def track_first_call_empty_cache(self) -> float:
        return start("call", self.folder.name)

    def track_first_call_warm_cache(self) -> float:
        start("call", self.folder.name)
        return min(start("call", self.folder.name) for _ in range(self.processes_each))
