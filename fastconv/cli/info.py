"""info: versions, threads, cache and extras; what would compute a convolution, or a model."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastconv._plan import explain
from fastconv.cli.arguments import UsageError, at_least, nine_integers
from fastconv.config import facts, show_config
from fastconv.models import MODELS


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("info", parents=[common], help="show versions, threads, cache and extras")
    form = "N,C,H,W,OC,KH,KW,STRIDE,PAD"
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--explain", type=nine_integers, metavar=form, help="show what would compute a convolution, and why"
    )
    shown.add_argument(
        "--model", choices=list(MODELS), help="show a model's layers, and which of them are computed together"
    )
    parser.add_argument(
        "--batch-size", type=at_least(1), metavar="N", help="images at a time for --model (default: 64)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show what there is; returns the exit code."""
    if arguments.batch_size and not arguments.model:
        raise UsageError("argument --batch-size: is one of --model")
    if arguments.explain:
        N, C, H, W, OC, KH, KW, stride, padding = arguments.explain
        found = explain(N, (C, H, W), (OC, C, KH, KW), stride, padding)
        print(json.dumps({"explain": found.splitlines()}) if arguments.json else found)
        return 0
    if arguments.model:
        summary = MODELS[arguments.model](rng=0).summary((arguments.batch_size or 64, 1, 28, 28))
        print(json.dumps({"model": summary.splitlines()}) if arguments.json else summary)
        return 0
    print(json.dumps(facts()) if arguments.json else show_config())
    return 0
