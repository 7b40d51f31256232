"""Measure fastconv inside jitted code: `python benchmarks/jitted.py --write benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import fastconv
from benchmarks.bench_njit import first_call
from benchmarks.filters import BANKS, FRAMES, HEIGHT, WIDTH, Filter
from benchmarks.measure import smallest
from benchmarks.report import Section, add_write, milliseconds, published, times_as_fast
from benchmarks.tables import conditions

SECTION = Section("<!-- jitted:begin -->", "<!-- jitted:end -->")


def filter_table(quick: bool) -> list[str]:
    """One row for each bank and each way to go through the frames."""
    lines = [
        f"| filters, frames of {HEIGHT}x{WIDTH} | fastconv, each frame | loops by hand | the same, tap by tap |",
        "| --- | ---: | ---: | ---: |",
    ]
    rounds = 1 if quick else 5
    for bank in list(BANKS)[: 1 if quick else None]:
        for parallel in (False, True):
            case = Filter(bank, parallel).warmed()
            calls = case.fastconv, case.by_hand, case.by_rows
            times = [
                min(column) / FRAMES for column in zip(*([smallest(c, 0, 1) for c in calls] for _ in range(rounds)))
            ]
            way = f"`prange`, {fastconv.get_num_threads()} threads" if parallel else "one thread"
            ratios = " | ".join(f"**{times_as_fast(slow / times[0])}** ({milliseconds(slow)})" for slow in times[1:])
            lines.append(f"| {bank}, {way} | {milliseconds(times[0])} | {ratios} |")
    return lines


def compile_sentence() -> str:
    """How long a user waits for the first result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty, kernels, everything = first_call(folder), first_call(folder, "user.user"), first_call(folder, "nothing")
    return (
        f"The first call of a user's function with one `conv2d` takes {empty:.1f} s with an empty cache, "
        f"{kernels:.1f} s once fastconv's kernels are cached, {everything:.2f} s if the function has `cache=True`."
    )


def table(quick: bool = False) -> str:
    """Everything that stands between the markers."""
    lines = [
        "How many times as fast as with loops in place of `conv2d`, float32; the smallest of several times, in turn.",
        f"{conditions()}.",
        "",
        *filter_table(quick),
    ]
    return "\n".join(lines if quick else [*lines, "", compile_sentence()])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to; 1 if the file cannot be written to."""
    parser = argparse.ArgumentParser(prog="jitted.py", description="A picture filter with fastconv and with loops.")
    add_write(parser, SECTION)
    parser.add_argument("--quick", action="store_true", help="one row of each kind, called once: to try it")
    options = parser.parse_args(arguments)
    return published(parser.prog, SECTION, options.write, lambda: table(options.quick))


if __name__ == "__main__":
    sys.exit(main())
