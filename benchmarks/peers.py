"""Measure fastconv against PyTorch and others: `python benchmarks/peers.py --threads 2`.

Needs the extra `peers`; a library that is not installed is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tqdm import tqdm

from benchmarks.comparison import Comparison, say, started
from benchmarks.isa import AVX2, AVX512
from benchmarks.libraries import LIBRARIES
from benchmarks.problems import OPERATIONS
from benchmarks.report import Section, add_write, aligned, machine, milliseconds, processor, times_as_fast, warn_if_busy
from benchmarks.workers import WorkerError, serve

# a table for each instruction set: the libraries' own choice, which is the machine's widest, or what they are told
SECTIONS = {
    isa: Section(f"<!-- {name}:begin -->", f"<!-- {name}:end -->")
    for isa, name in ((None, "peers"), (AVX512, "peers"), (AVX2, "peers-avx2"))
}
PEERS = tuple(name for name in LIBRARIES if name != "fastconv")
ROUNDS, BLOCK = 3, 0.02
MISSING = "-"


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The geometric mean and the worst shape of each operation against each peer; grouped convolutions apart.

    A depthwise layer has next to no arithmetic, and one ratio of 10 would hide what the wide layers do.
    """
    found = []
    for operation, grouped in dict.fromkeys((row["operation"], row["groups"] > 1) for row in rows):
        own = [row for row in rows if (row["operation"], row["groups"] > 1) == (operation, grouped)]
        for peer in PEERS:
            ratios = {row["shape"]: row["ratio"][peer] for row in own if peer in row["ratio"]}
            if ratios:
                worst = min(ratios, key=ratios.__getitem__)
                found.append({
                    "operation": operation, "grouped": grouped, "peer": peer, "shapes": len(ratios),
                    "mean": statistics.geometric_mean(ratios.values()), "worst": ratios[worst], "worst_shape": worst,
                })  # fmt: skip
    return found


def operation_table(operation: str, rows: Sequence[dict[str, Any]], peak: float | None) -> list[str]:
    """One row for each shape: fastconv's time and rate, and how many times as long each peer takes."""
    peers = [peer for peer in PEERS if any(peer in row["seconds"] for row in rows)]
    rated = rows[0]["flops"] is not None
    header = [OPERATIONS[operation].title, "fastconv", *(["GFLOP/s", "of the peak"] if rated else []), *peers]

    def timed(row: dict[str, Any], library: str) -> str:
        return f"{milliseconds(row['seconds'][library])} ({row['spread'][library]:.2f})"

    cells = []
    for row in rows:
        line = [f"{row['shape']}: {row['sizes']}", timed(row, "fastconv")]
        if rated:
            rate = row["flops"] / row["seconds"]["fastconv"] / 1e9
            line += [f"{rate:.0f}", f"{rate / peak:.0%}" if peak else MISSING]
        there = row["ratio"]
        line += [
            f"**{times_as_fast(there[peer], 3)}** {timed(row, peer)}" if peer in there else MISSING for peer in peers
        ]
        cells.append(line)
    return aligned(header, cells)


def summary_table(found: Sequence[dict[str, Any]]) -> list[str]:
    """One row for each operation and peer."""
    cells = [
        [
            OPERATIONS[line["operation"]].title + (", groups" if line["grouped"] else ""),
            *(line["peer"], str(line["shapes"]), times_as_fast(line["mean"], 3)),
            f"{times_as_fast(line['worst'], 3)} {line['worst_shape']}",
        ]
        for line in found
    ]
    return aligned(["float32", "against", "shapes", "geometric mean", "worst"], cells)


def text(result: dict[str, Any]) -> str:
    """Everything that stands between the markers."""
    threads, peak, rows = result["threads"], result["peak_gflops"], result["rows"]
    told = f", every library told to keep to {result['isa']}, as each was seen to" if result["isa"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        "How many times as fast as each peer (above 1, fastconv is faster), with its time; in brackets the median over "
        "the smallest of the times. float32; every library in a process of its own, in turn.",
        f"{result['processor']}{told}, {threads} thread{'s' if threads != 1 else ''}"
        + (f", peak {peak:.0f} GFLOP/s" if peak else "")
        + (", cold heap" if result["cold_heap"] else "")
        + f"; Python {platform.python_version()}, {versions}.",
    ]
    for operation in dict.fromkeys(row["operation"] for row in rows):
        lines += ["", *operation_table(operation, [row for row in rows if row["operation"] == operation], peak)]
    if result["summary"]:
        lines += ["", *summary_table(result["summary"])]
    return "\n".join(lines)


def chosen(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The operations and the names of their shapes."""
    pairs = [(operation, name) for operation in options.operations for name in OPERATIONS[operation].shapes]
    return [(operation, name) for operation, name in pairs if not options.shapes or name in options.shapes]


def compare(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Measure what the options ask for: the result as it goes into a JSON file, and what went wrong."""
    jobs = chosen(options)
    rounds, block = (1, 0.001) if options.quick else (ROUNDS, BLOCK)
    names, flags = ["fastconv", *options.peers], ["--cold-heap"] if options.cold_heap else []
    with started(names, options.threads, Path(__file__).resolve(), flags, options.isa) as (workers, absent):
        comparison = Comparison(workers, 1 if options.quick else options.repeats, rounds, block)
        fastconv = workers["fastconv"]
        peaks, versions = [fastconv.ask("peak")["gflops"]], {name: worker.version for name, worker in workers.items()}
        rows = [comparison.row(*job) for job in tqdm(jobs, disable=None, leave=False, unit="row")]
        # a second time, because what disturbed the first one may be over
        peaks.append(fastconv.ask("peak")["gflops"])
    for operation in dict.fromkeys(job[0] for job, row in zip(jobs, rows) if row is None):
        say(f"{operation} is left out: fastconv does not have it, or failed")
    there = [row for row in rows if row]
    # threads that wait for a starved one spin, so they keep fewer processors busy only if another program has one
    starved = sum(row["cores"]["fastconv"] < 0.7 * options.threads for row in there)
    if starved:
        say(f"fastconv did not get {options.threads} processors in {starved} of {len(there)} rows: measure them again")
    return {
        "processor": processor() if options.isa else machine(), "isa": options.isa,
        "threads": options.threads, "cold_heap": options.cold_heap,
        "versions": versions, "absent": absent, "peak_gflops": max(filter(None, peaks), default=None),
        "rows": there, "summary": summary(there),
    }, comparison.errors  # fmt: skip


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command's options; exits with 2 if they make no sense."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shapes = dict.fromkeys(name for operation in OPERATIONS.values() for name in operation.shapes)
    parser = argparse.ArgumentParser(prog="peers.py", description="Fastconv against other libraries, shape by shape.")
    parser.add_argument("--threads", type=int, default=available, help="of every library (%(default)s)")
    operations = {"choices": OPERATIONS, "default": list(OPERATIONS), "metavar": "NAME", "help": ", ".join(OPERATIONS)}
    parser.add_argument("--operations", nargs="+", **operations)
    parser.add_argument("--shapes", nargs="+", choices=shapes, metavar="NAME", help='such as "LeNet c1" (all)')
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="none: fastconv alone")
    parser.add_argument("--repeats", type=int, default=5, help=f"blocks in each of {ROUNDS} rounds (%(default)s)")
    parser.add_argument("--cold-heap", action="store_true", help="large results may be mapped anew in every call")
    parser.add_argument("--quick", action="store_true", help="one short block each: to try it, not to publish")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time and ratio")
    parser.add_argument(
        "--isa", choices=(AVX2, AVX512), help="have every library keep to it; leave out those that cannot"
    )
    add_write(parser, SECTIONS[None], SECTIONS[AVX2])
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not 1 <= options.threads <= available:
        parser.error(f"--threads must be from 1 to {available}, got {options.threads}")
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    if not chosen(options):
        parser.error("none of the --operations has one of the --shapes")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to; 1 if a library failed or a file cannot be written."""
    options = parsed(arguments)
    if options.worker:
        serve(options.worker, options.threads, not options.cold_heap, options.isa)
        return 0
    try:
        for path in options.write:
            SECTIONS[options.isa].check(path)
        warn_if_busy("peers.py")
        result, errors = compare(options)
        print(text(result))
        if options.json:
            options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for path in options.write:
            SECTIONS[options.isa].replace(path, text(result))
    except (OSError, ValueError, WorkerError) as error:
        say(str(error))
        return 1
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
