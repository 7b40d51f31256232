"""fastconv inside a user's jitted code: a picture filter against the same in loops, and the time to compile it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fastconv
from benchmarks.filters import BANKS, Filter
from benchmarks.measure import THREADS, Timed, smallest, use_threads

# Seconds that the first call of a user's function takes, beyond that of one without fastconv.
USER = """
import time
import numba, numpy as np
import fastconv, fastconv._overloads

@numba.njit(cache=True)
def other(x, w):
    return x * w

@numba.njit(cache=True)
def user(x, w):
    return fastconv.conv2d(x, w)

x, w = np.ones((1, 1, 8, 8), np.float32), np.ones((1, 1, 3, 3), np.float32)
other(x, w[:, :, :1, :1].copy())
begin = time.perf_counter()
user(x, w)
print(time.perf_counter() - begin)
"""


def first_call(folder: Path, forget: str = "") -> float:
    """Seconds of a process's first call with the caches in `folder`, without the files whose names begin so."""
    (folder / "user.py").write_text(USER)
    for path in folder.rglob(f"{forget}*.nb[ic]"):
        path.unlink()
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(Path(fastconv.__file__).parents[1])}
    command = [sys.executable, "-c", "import user"]
    return float(subprocess.run(command, env=env, cwd=folder, check=True, capture_output=True, text=True).stdout)


class Jitted(Timed):
    """Seconds for the frames of a film, one after another and in `prange`."""

    params = (tuple(BANKS), (False, True), THREADS)
    param_names = ("bank", "prange", "threads")

    def setup(self, bank: str, prange: bool, threads: int | str) -> None:
        use_threads(threads)
        self.case = Filter(bank, prange).warmed()

    def time_fastconv(self, *_: object) -> None:
        self.case.fastconv()

    def time_by_hand(self, *_: object) -> None:
        self.case.by_hand()

    def time_by_rows(self, *_: object) -> None:
        self.case.by_rows()


class JittedToLoops:
    """fastconv's time over that of loops: below 1 is faster."""

    params = (tuple(BANKS),)
    param_names = ("bank",)
    unit = "x"
    timeout = 120.0

    def setup(self, bank: str) -> None:
        self.case = Filter(bank, False).warmed()

    def track_by_hand(self, *_: object) -> float:
        return smallest(self.case.fastconv, 0.1) / smallest(self.case.by_hand, 0.1)

    def track_by_rows(self, *_: object) -> float:
        return smallest(self.case.fastconv, 0.1) / smallest(self.case.by_rows, 0.1)


class Compile:
    """Seconds until a user's function with one convolution has its first result."""

    timeout = 180.0
    unit = "s"

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.folder.cleanup()

    def track_first_call_empty_cache(self) -> float:
        return first_call(Path(self.folder.name))

    def track_first_call_kernels_cached(self) -> float:
        first_call(Path(self.folder.name))
        return first_call(Path(self.folder.name), "user.user")

    def track_first_call_all_cached(self) -> float:
        first_call(Path(self.folder.name))
        return first_call(Path(self.folder.name), "nothing")
