"""export-onnx: a checkpoint as an ONNX file."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastconv.checkpoint import load_model
from fastconv.data.files import check_writeable


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = 'write a checkpoint as an ONNX file (extra "onnx")'
    parser = commands.add_parser("export-onnx", parents=[common], help=text, description=text)
    parser.add_argument("weights", metavar="CHECKPOINT", help="a file from train --save")
    parser.add_argument("output", metavar="FILE", help="the file to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export a checkpoint; returns the exit code."""
    from fastconv.onnx import export

    model, checkpoint = load_model(arguments.weights)
    settings = checkpoint.settings
    shape = (1, *settings["shape"])
    check_writeable(arguments.output)
    export(model, arguments.output, shape)
    row = {
        "model": settings["model"], "file": arguments.output, "dtype": settings["dtype"],
        "input": ["N", *shape[1:]], "output": ["N", *model.output_shape(shape)[1:]],
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(row))
    else:
        ends = (", ".join(map(str, row[end])) for end in ("input", "output"))
        print("wrote {}: {} from ({}) to ({})".format(arguments.output, settings["model"], *ends))
    return 0
