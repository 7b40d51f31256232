"""Measure LeNet-5 in fastconv and in others: `python benchmarks/lenet.py --write benchmarks/RESULTS.md README.md`.

The same as `fastconv bench`; a library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.report import Section, add_write, machine, published
from fastconv.comparison import compare_libraries, table

SECTION = Section("<!-- lenet:begin -->", "<!-- lenet:end -->")


def text(batch_size: int, rounds: int) -> str:
    """Everything that stands between the markers."""
    found = compare_libraries(batch_size, rounds)
    versions = ", ".join(f"{name.split(',')[0]} {version}" for name, version in found["versions"].items())
    return "\n".join([
        "The smallest of the medians of several turns, every library in a process of its own; times as long as "
        "fastconv's in brackets; float32 where nothing else is said.",
        f"{machine()}, {found['threads']} threads; {versions}.", "", table(found),
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print, or write to a file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images a step (default: 64)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each library (default: 5)")
    add_write(parser, SECTION)
    options = parser.parse_args(arguments)
    return published("lenet.py", SECTION, options.write, lambda: text(options.batch_size, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
