"""bench: a network here, against NumPy and other libraries."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastconv.cli.arguments import at_least
from fastconv.comparison import compare_libraries, table
from fastconv.comparison.networks import DEFAULT, NETWORKS


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = "time LeNet-5, or another network, against NumPy, and PyTorch and ONNX Runtime where they are installed"
    parser = commands.add_parser("bench", parents=[common], help=text, description=text)
    parser.add_argument("--model", choices=list(NETWORKS), default=DEFAULT, help=f"the network (default: {DEFAULT})")
    others = ", ".join(
        f"{network.batch_size} of {name}" for name, network in NETWORKS.items() if network.batch_size != 64
    )
    parser.add_argument("--batch-size", type=at_least(1), metavar="N", help=f"images a step (default: 64; {others})")
    parser.add_argument("--rounds", type=at_least(1), default=3, metavar="N", help="turns of each library (default: 3)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare the libraries; returns the exit code."""
    try:
        found = compare_libraries(arguments.batch_size, arguments.rounds, network=arguments.model)
    except RuntimeError as error:
        raise ChildProcessError(str(error)) from None
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(table(found))
    versions = ", ".join(f"{name.split(',')[0]} {version}" for name, version in found["versions"].items())
    print(f"{found['threads']} threads, float32 where nothing else is said; times as long as fastconv's in brackets")
    print(versions)
    return 0
