"""Measure first calls: `python benchmarks/first_calls.py --wheel WHEEL --write benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.bench_start import said
from benchmarks.report import Section, add_write, published
from benchmarks.tables import conditions
from fastconv._wheel.first_calls import CALLS, SCRIPT
from fastconv._wheel.prove import Environment

SECTION = Section("<!-- first-calls:begin -->", "<!-- first-calls:end -->")
RUNS = 5


def row(name: str, wheel: Environment | None, runs: int) -> str:
    """CPU seconds of a first call: with an empty cache, a full one, and with shipped code."""
    with tempfile.TemporaryDirectory() as folder:
        empty = said(CALLS[name], folder, FASTCONV_SHIPPED_CODE="0")
        full = [said(CALLS[name], folder, FASTCONV_SHIPPED_CODE="0") for _ in range(runs)]
    shipped = [wheel.said("python", "-c", SCRIPT, CALLS[name]) for _ in range(runs)] if wheel else []
    cells = [f"{empty['cpu']:.1f} s ({empty['wall']:.1f} s)"]
    cells += [f"{min(one['cpu'] for one in found):.2f} s" if found else "" for found in (full, shipped)]
    return f"| {name} | {' | '.join(cells)} |"


def table(wheel: Path | None, quick: bool = False) -> str:
    """Everything that stands between the markers."""
    lines = [
        "Seconds of CPU time beyond `import numba`, of which `import fastconv` is a part, and with an empty cache also",
        "in all; each in a process of its own, the smallest of several. Shipped: from a wheel with machine code, in a",
        f"fresh environment. {conditions()}.",
        "",
        "| first call | empty cache | full cache | shipped |",
        "| --- | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        installed = Environment(Path(folder), wheel) if wheel else None
        names = list(CALLS)[: 1 if quick else None]
        return "\n".join([*lines, *(row(name, installed, 1 if quick else RUNS) for name in names)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to; 1 if the file cannot be written to."""
    parser = argparse.ArgumentParser(prog="first_calls.py", description="The time until a first result.")
    add_write(parser, SECTION)
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="also of a wheel of `python -m fastconv._wheel`")
    parser.add_argument("--quick", action="store_true", help="one row, called once: to try it")
    options = parser.parse_args(arguments)
    return published(parser.prog, SECTION, options.write, lambda: table(options.wheel, options.quick))


if __name__ == "__main__":
    sys.exit(main())
