"""Measure whole networks in fastconv and in others: `python benchmarks/networks.py --write benchmarks/RESULTS.md`.

The same as `fastconv bench --model NAME` without NumPy; a library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tqdm import tqdm

from benchmarks.report import Section, add_write, aligned, machine, milliseconds, published, times_as_fast
from fastconv.comparison import compare_libraries
from fastconv.comparison.networks import NETWORKS
from fastconv.comparison.sides import installed
from fastconv.data.files import written_atomically

SECTION = Section("<!-- networks:begin -->", "<!-- networks:end -->")
COMPARED = (
    "cifar-cnn", "deep-convnet", "mnist-cnn", "small-resnet-wide", "mobilenet-small", "vgg-small", "resnet20", "lenet5",
)  # fmt: skip
PEERS = ("PyTorch", "ONNX Runtime")


def libraries() -> list[str]:
    """Fastconv, and those of its peers that are installed."""
    return [name for name in installed() if name in ("fastconv", *PEERS)]


def measured(names: Sequence[str], rounds: int, path: Path | None) -> dict[str, Any]:
    """What is not yet in the file of results, measured and put there.

    Raises:
        ValueError: the process of a library ended.
    """
    results: dict[str, Any] = json.loads(path.read_text()) if path and path.exists() else {}
    for name in tqdm([name for name in names if name not in results], disable=None, leave=False):
        try:
            results[name] = compare_libraries(None, rounds, libraries(), name)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
        if path:
            with written_atomically(path) as file:
                file.write(json.dumps(results).encode())
    return {name: results[name] for name in names}


def row(found: Mapping[str, Any]) -> list[str]:
    """A network's cells: fastconv's times, and how many times as long each peer takes."""
    seconds, ratios, memory = found["seconds"], found["ratio"], found["memory"]
    one, many = list(seconds["fastconv"])[-2:]
    cells = [f"{found['title']}, {found['batch_size']}"]
    for job, peers in (("step", PEERS[:1]), (many, PEERS), (one, PEERS)):
        cells.append(milliseconds(seconds["fastconv"][job]) + (f", {many.split()[0]}" if job == many else ""))
        for peer in peers:
            cells.append(f"**{times_as_fast(ratios[peer][job], 3)}**" if job in ratios.get(peer, {}) else "-")
    return cells + [f"{memory[name] / 1e6:.0f} MB" if name in memory else "-" for name in ("fastconv", PEERS[0])]


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Everything that stands between the markers."""
    first = next(iter(results.values()))
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    header = ["network, images a step", "training step"]
    header += ["PyTorch", "inference, images", *PEERS, "of 1 image", *PEERS, "memory of a step", "PyTorch's"]
    return "\n".join([
        "fastconv's time, and how many times as fast it is (above 1, fastconv is faster): the smallest of the medians "
        "of several turns, every library in a process of its own, float32, SGD with momentum, dropout and batch "
        "normalisation in training as each library has them. The memory is what a process needs beyond its imports.",
        f"{machine()}, {first['threads']} threads; {versions}.", "",
        *aligned(header, [row(found) for found in results.values()]),
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print, or write to a file; 1 if something cannot be measured, read or written, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="networks.py", description="Whole networks in fastconv and in its peers.")
    parser.add_argument(
        "--networks", nargs="+", choices=list(NETWORKS), default=list(COMPARED), metavar="NAME",
        help=f"some of {', '.join(NETWORKS)} (default: {', '.join(COMPARED)})",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each library (default: 5)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep measurements; what is there is not repeated")
    add_write(parser, SECTION)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("argument --rounds: must be 1 or more")
    try:
        return published(
            parser.prog, SECTION, options.write,
            lambda: table(measured(options.networks, options.rounds, options.results)),
        )  # fmt: skip
    except KeyboardInterrupt:
        kept = f"; what is measured is in {options.results}" if options.results else ""
        print(f"{parser.prog}: interrupted{kept}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
