"""python -m fastconv._wheel: machine code for each level of processors, and a wheel that holds it.

What is shipped counts only for the versions of Python, Numba and llvmlite that it is made with, so this is run with
those that users will have, in an environment with `build` and `hatchling`, from a checkout.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastconv._runtime import shipped, store
from fastconv._wheel.prove import prove

SWITCH = "FASTCONV_MACHINE_CODE"  # the folder of archives that the build hook puts into a wheel


def archives(folder: Path, levels: list[str]) -> None:
    """Write an archive for each level to a folder."""
    with tempfile.TemporaryDirectory() as own:
        asked = Path(own) / "asked"
        _run("fastconv._wheel.calls", str(asked), FASTCONV_SHIPPED_CODE="0", NUMBA_CACHE_DIR=f"{own}/here")

        def compile_for(level: str) -> None:
            features = ",".join(f"+{name}" for name in sorted(shipped.LEVELS[level]))
            _run(
                "fastconv._wheel.level", str(asked), level, str(folder), FASTCONV_SHIPPED_CODE="0",
                NUMBA_CPU_NAME=level, NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=f"{own}/{level}",
            )  # fmt: skip

        with ThreadPoolExecutor(os.cpu_count()) as processes:
            list(processes.map(compile_for, levels))


def wheel(source: Path, folder: Path, code: Path) -> Path:
    """Build a wheel of a checkout with the archives in a folder."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], env={**os.environ, SWITCH: str(code)}, check=True)
    return max(folder.glob("fastconv-*.whl"), key=lambda path: path.stat().st_mtime)


def _run(module: str, *arguments: str, **environment: str) -> None:
    env = {**os.environ, "FASTCONV_QUIET": "1", **environment}
    subprocess.run([sys.executable, "-m", module, *arguments], env=env, check=True)


def main() -> int:
    """Build; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fastconv._wheel", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the wheel is written")
    parser.add_argument("--level", action="append", choices=list(shipped.LEVELS), help="for these (default: all)")
    parser.add_argument(
        "--code", type=Path, metavar="DIR", help="keep the archives there, or take those that are there"
    )
    parser.add_argument("--prove", action="store_true", help="install the wheel in a fresh environment and try it")
    arguments = parser.parse_args()
    levels = arguments.level or list(shipped.LEVELS)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own:
        code = arguments.code or Path(own)
        code.mkdir(parents=True, exist_ok=True)
        archives(code, [level for level in levels if not (code / f"{level}.code").exists()])
        made = wheel(store.PACKAGE.parent, arguments.folder, code)
        print(made)
    return prove(made) if arguments.prove else 0


if __name__ == "__main__":
    sys.exit(main())
