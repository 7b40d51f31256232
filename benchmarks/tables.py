"""Measure fastconv against its NumPy backend: `python benchmarks/tables.py --write benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numba
import numpy as np
from tqdm import tqdm

import fastconv
from benchmarks.cases import BATCH, Conv, Im2col, LeNet, MaxPool
from benchmarks.measure import Times, against_numpy
from benchmarks.report import Section, add_write, machine, milliseconds, published, times_as_fast
from benchmarks.shapes import CONVS, POOLS

SECTION = Section("<!-- ratios:begin -->", "<!-- ratios:end -->")

# NumPy takes up to a second for the others, and a gigabyte for their im2col matrices
CONV_ROWS = tuple(shape for shape in CONVS if shape.flops <= 1e9)


class Job(NamedTuple):
    """One pair of calls to measure, and the cell it is for."""

    row: str
    column: str
    fast: Callable[[], Any]
    slow: Callable[[], Any] | None = None


def conv_jobs(quick: bool) -> list[Job]:
    """The passes of the small convolutions in float32."""
    jobs = []
    for shape in CONV_ROWS[: 1 if quick else None]:
        case, row = Conv(shape.name, "float32").warmed(), f"{shape.name}: {shape}"
        jobs += [Job(row, call.replace("_", " "), getattr(case, call)) for call in case.calls]
    return jobs


def other_jobs(quick: bool) -> list[Job]:
    """Pooling, im2col and a training step of LeNet-5."""
    jobs = []
    for shape in POOLS[: 1 if quick else None]:
        pool = MaxPool(shape.name, "float32").warmed()
        jobs.append(Job(f"`max_pool2d_with_indices`, {shape}", "", pool.forward_with_indices))
        jobs.append(Job(f"`max_pool2d_backward`, {shape}", "", pool.gradient))
    for shape in CONVS[: 1 if quick else 3]:
        matrix = Im2col(shape.name, "float32").warmed()
        jobs.append(Job(f'`im2col`, order="rows", {shape.name}', "", matrix.im2col))
        jobs.append(Job(f'`col2im`, order="rows", {shape.name}', "", matrix.col2im))
    step = LeNet("float32").warmed()
    for dtype in ("float32", "float64"):
        row = f"LeNet-5 training step, batch {BATCH}, float32; NumPy in {dtype}"
        jobs.append(Job(row, "", step.step, LeNet(dtype).step))
    return jobs


def measured(jobs: Sequence[Job], quick: bool) -> dict[tuple[str, str], Times]:
    """The times of each job, by row and column."""
    options = {"rounds": 1, "budget": 0.0, "rest": 0.05} if quick else {"rounds": 3, "budget": 0.1}
    bar = tqdm(jobs, disable=None, leave=False, unit="ratio")
    return {(job.row, job.column): against_numpy(job.fast, job.slow, **options) for job in bar}


def ratio(times: Times) -> str:
    """How many times as fast as NumPy, in two digits."""
    return times_as_fast(times.numpy / times.fastconv)


def conv_table(times: dict[tuple[str, str], Times]) -> list[str]:
    """One row for each shape, one column for each pass."""
    rows, columns = (list(dict.fromkeys(key[i] for key in times)) for i in (0, 1))
    lines = [f"| convolution, float32 | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    for row in rows:
        cells = [f"**{ratio(times[row, column])}** ({milliseconds(times[row, column].fastconv)})" for column in columns]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def other_table(times: dict[tuple[str, str], Times]) -> list[str]:
    """One row for each call."""
    lines = ["| float32 | ratio | fastconv | NumPy |", "| --- | ---: | ---: | ---: |"]
    for (row, _), pair in times.items():
        lines.append(f"| {row} | **{ratio(pair)}** | {milliseconds(pair.fastconv)} | {milliseconds(pair.numpy)} |")
    return lines


def conditions() -> str:
    """What the numbers depend on; no date, so that the same numbers give the same text."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    threads = fastconv.get_num_threads()
    return (
        f"{machine()}, {threads} thread{'s' if threads != 1 else ''}; Python {platform.python_version()}, "
        f"NumPy {np.__version__} ({blas}), Numba {numba.__version__}"
    )


def tables(quick: bool = False) -> str:
    """Everything that stands between the markers."""
    lines = [
        "How many times as fast as the NumPy backend (im2col and matrix products of a threaded BLAS), with fastconv's "
        "time in brackets; the smallest of several times, both sides in turn in one process.",
        f"{conditions()}.",
        "",
        *conv_table(measured(conv_jobs(quick), quick)),
        "",
        *other_table(measured(other_jobs(quick), quick)),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to; 1 if the file cannot be written to."""
    parser = argparse.ArgumentParser(prog="tables.py", description="Ratios of fastconv to its NumPy backend.")
    add_write(parser, SECTION)
    parser.add_argument("--quick", action="store_true", help="few shapes, one call each: to try it, not to publish")
    options = parser.parse_args(arguments)
    return published(parser.prog, SECTION, options.write, lambda: tables(options.quick))


if __name__ == "__main__":
    sys.exit(main())
