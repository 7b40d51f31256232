"""info: versions, threads, cache and extras; what would compute a convolution, or a model."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastconv._arguments.sizes import LAYOUTS
from fastconv._plans.explain import DTYPES, explain
from fastconv.cli.arguments import UsageError, at_least, nine_integers
from fastconv.config import facts, show_config
from fastconv.models import IMAGE_SHAPES, MODELS


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = "show versions, threads, cache and extras"
    description = f"{text}; or the plan of a convolution (--explain), or a model's layers (--model)"
    parser = commands.add_parser("info", parents=[common], help=text, description=description)
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
    of = "of the convolution for --explain"
    parser.add_argument("--layout", choices=LAYOUTS, help=f"layout {of} (default: NCHW)")
    parser.add_argument("--dtype", choices=DTYPES, help=f"dtype {of} (default: float32)")
    parser.add_argument("--dilation", type=at_least(1), metavar="D", help=f"dilation {of} (default: 1)")
    parser.add_argument("--groups", type=at_least(1), metavar="G", help=f"groups {of} (default: 1)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show what there is; returns the exit code."""
    if arguments.batch_size and not arguments.model:
        raise UsageError("argument --batch-size: is one of --model")
    options = {name: getattr(arguments, name) for name in ("layout", "dtype", "dilation", "groups")}
    given = {name: value for name, value in options.items() if value is not None}
    if given and not arguments.explain:
        raise UsageError(f"argument --{next(iter(given))}: is one of --explain")
    if arguments.explain:
        N, C, H, W, OC, KH, KW, stride, padding = arguments.explain
        weight = OC, C // given.get("groups", 1), KH, KW
        found = explain(N, (C, H, W), weight, stride, padding, **{"groups": 1, **given})
        print(json.dumps({"explain": found.splitlines()}) if arguments.json else found)
        return 0
    if arguments.model:
        summary = MODELS[arguments.model](rng=0).summary((arguments.batch_size or 64, *IMAGE_SHAPES[arguments.model]))
        print(json.dumps({"model": summary.splitlines()}) if arguments.json else summary)
        return 0
    print(json.dumps(facts()) if arguments.json else show_config())
    return 0
