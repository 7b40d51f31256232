"""bench: a training step against NumPy."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastconv._threads import get_num_threads
from fastconv.cli.arguments import whole
from fastconv.comparison import compare_backends


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("bench", parents=[common], help="time a LeNet-5 step against NumPy")
    parser.add_argument("--batch-size", type=whole(1), default=64, metavar="N", help="images a step (default: 64)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare a step with NumPy; returns the exit code."""
    found = compare_backends(arguments.batch_size) | {"threads": get_num_threads()}
    if arguments.json:
        print(json.dumps(found))
    else:
        print_comparison(found)
    return 0


def print_comparison(found: dict[str, Any]) -> None:
    """Say in one line what `compare_backends` has found."""
    print(
        f"a training step of {found['batch_size']} images: {1e3 * found['numba_float32']:.2f} ms; the NumPy backend "
        f"takes {1e3 * found['numpy_float64']:.1f} ms in float64 ({found['ratio_float64']:.1f} times as long) and "
        f"{1e3 * found['numpy_float32']:.1f} ms in float32 ({found['ratio_float32']:.1f} times)"
    )
