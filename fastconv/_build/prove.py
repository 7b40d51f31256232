"""Install a wheel in a fresh environment and see that what it ships is used: nothing is compiled, and how long it takes.

python -m fastconv._build.prove WHEEL
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from fastconv._build.first_calls import CALLS, SCRIPT

RUNS = 3


def prove(wheel: Path) -> int:
    """Print what each first call took; returns how many compiled something, or found nothing shipped."""
    wrong = 0
    with tempfile.TemporaryDirectory() as own:
        venv.create(f"{own}/venv", with_pip=True)
        python = f"{own}/venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True)
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes")
        for name, call in CALLS.items():
            found = [_once(python, call, f"{own}/{name}-{run}") for run in range(RUNS)]
            best = min(found, key=lambda one: one["cpu"])
            wrong += any(one["compilations"] or not one["counts"]["shipped"] for one in found)
            print(
                f"{name:<24} {best['cpu']:.3f} s of CPU time, {best['wall']:.3f} s, of which import {best['import']:.3f} s;"
                f" {best['compilations']} compilations; {best['counts']}"
            )
    return wrong


def _once(python: str, call: str, folder: str) -> dict:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "FASTCONV", "PYTHON"))}
    environment |= {"NUMBA_CACHE_DIR": folder}
    Path(folder).mkdir()
    done = subprocess.run(
        [python, "-c", SCRIPT, call], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(prove(Path(sys.argv[1])))
