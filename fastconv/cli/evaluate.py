"""eval: a checkpoint on test data."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from fastconv._runtime.threads import get_num_threads
from fastconv.checkpoint import load_model
from fastconv.cli.compiling import compile_evaluation
from fastconv.cli.sources import SOURCE, check_labels, load
from fastconv.training import evaluate


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = "evaluate a checkpoint on test data"
    parser = commands.add_parser("eval", parents=[common], help=text, description=f"{text}: its loss and its accuracy")
    parser.add_argument("weights", metavar="CHECKPOINT", help="a file from train --save")
    parser.add_argument("--data", metavar="DATA", help=f"{SOURCE} (default: the checkpoint's)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate a checkpoint; returns the exit code."""
    model, checkpoint = load_model(arguments.weights)
    settings = checkpoint.settings
    data = arguments.data or settings["data"]
    _, (x, labels) = load(data)
    check_labels(data, settings["classes"], test=labels)
    x = x.astype(settings["dtype"], copy=False)
    compile_evaluation(model, x, labels)
    start = time.perf_counter()
    loss, accuracy = evaluate(model, x, labels)
    seconds = time.perf_counter() - start
    rows = checkpoint.history.rows
    row = {
        "model": settings["model"], "data": data, "epochs": checkpoint.position.epoch,
        "train_loss": rows[-1].get("train_loss") if rows else None, "test_loss": loss, "test_accuracy": accuracy,
        "seconds": seconds, "images_per_second": len(x) / seconds, "threads": get_num_threads(),
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(row))
    else:
        print(f"test loss {loss:.4f}, test accuracy {accuracy:.2%} on {len(x):,} images of {data}")
    return 0
