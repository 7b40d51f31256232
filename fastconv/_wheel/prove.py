"""Install a wheel in a fresh environment and see what its machine code is worth there.

For each first call: how long it takes, and that it compiles nothing. For each level: that the results have the bits of
what Numba compiles for that level itself.

python -m fastconv._wheel.prove WHEEL
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from fastconv._runtime import shipped
from fastconv._wheel import bits
from fastconv._wheel.first_calls import CALLS, SCRIPT

RUNS = 5


class Environment:
    """A fresh virtual environment with a wheel in it."""

    def __init__(self, folder: Path, wheel: Path):
        self._folder, self._count = folder, 0
        venv.create(folder / "venv", with_pip=True)
        self.bin = folder / "venv" / "bin"
        subprocess.run([self.bin / "python", "-m", "pip", "install", "-q", str(wheel)], check=True)

    def start(self, *command: str, **options: str) -> Any:
        """A process with an empty cache, whose lines can be read."""
        self._count += 1
        cache = self._folder / f"cache-{self._count}"
        cache.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "FASTCONV", "PYTHON"))}
        environment = kept | {"NUMBA_CACHE_DIR": str(cache), "FASTCONV_QUIET": "1", "PYTHONUNBUFFERED": "1"} | options
        return subprocess.Popen(
            [self.bin / command[0], *command[1:]], env=environment, cwd=cache, stdout=subprocess.PIPE, text=True
        )

    def said(self, *command: str, **options: str) -> Any:
        """What a process says in its last line, as JSON."""
        process = self.start(*command, **options)
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        return json.loads(out.splitlines()[-1])


def prove(wheel: Path) -> int:
    """Print what was found; returns how much of it is not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        there = Environment(Path(folder), wheel)
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes")
        return _first_calls(there) + _training(there) + _bits(there)


def _first_calls(there: Environment) -> int:
    wrong = 0
    for name, call in CALLS.items():
        found = [there.said("python", "-c", SCRIPT, call) for _ in range(RUNS)]
        wrong += any(one["compilations"] or not one["counts"]["shipped"] for one in found)
        best = min(found, key=lambda one: one["cpu"])
        print(
            f"{name}: {best['cpu']:.3f} s of CPU time beyond `import numba`, {best['wall']:.3f} s in all, of which"
            f" {best['import']:.3f} s to import; {best['compilations']} compilations, {best['counts']}"
        )
    return wrong


def _training(there: Environment) -> int:
    seconds = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        process = there.start("fastconv", "train", "--epochs", "1")
        for line in process.stdout:
            if line.startswith("epoch"):
                seconds.append(time.perf_counter() - begin)
        process.wait()
    print(f"fastconv train: the first epoch is printed after {min(seconds):.2f} s")
    return 0


def _bits(there: Environment) -> int:
    wrong, script = 0, Path(bits.__file__).read_text()
    levels = list(shipped.LEVELS)
    for level in levels[levels.index(shipped.level() or levels[-1]) :]:
        features = ",".join(f"+{name}" for name in sorted(shipped.LEVELS[level]))
        told = {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": features}
        ours = there.said("python", "-c", script, **told)
        theirs = there.said("python", "-c", script, FASTCONV_SHIPPED_CODE="0", **told)
        others = [name for name, digest in ours["digests"].items() if theirs["digests"][name] != digest]
        wrong += len(others) + bool(ours["counts"]["compiled"])
        same = f"{len(ours['digests']) - len(others)} of {len(ours['digests'])}"
        print(f"{level}: {same} results have the compiler's bits {others or ''}; {ours['counts']}")
        if level == shipped.level():
            native = there.said("python", "-c", script, FASTCONV_SHIPPED_CODE="0")
            others = [name for name, digest in ours["digests"].items() if native["digests"][name] != digest]
            print(f"those that differ from what is compiled for this very processor: {others or 'none'}")
    return wrong


if __name__ == "__main__":
    sys.exit(prove(Path(sys.argv[1])))
