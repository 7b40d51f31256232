"""warmup: the kernels compiled ahead of time."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastconv._warmup import warmup


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = "compile the kernels into the disk cache"
    description = f"{text}, so that no later call waits for it"
    parser = commands.add_parser("warmup", parents=[common], help=text, description=description)
    parser.add_argument("--dtype", choices=("float32", "float64", "both"), default="both", help="(default: both)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compile the kernels; returns the exit code."""
    dtypes = ("float32", "float64") if arguments.dtype == "both" else (arguments.dtype,)
    seconds = warmup(dtypes)
    if arguments.json:
        print(json.dumps({"dtypes": dtypes, "seconds": seconds}))
    else:
        print(f"kernels for {' and '.join(dtypes)} ready after {seconds:.1f} s")
    return 0
