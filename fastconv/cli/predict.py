"""predict: the classes of pictures, by a checkpoint."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from fastconv.checkpoint import load_model
from fastconv.cli.sources import class_names
from fastconv.data.pictures import read_pictures
from fastconv.errors import DataError
from fastconv.training import predict


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = "classify a picture or a NumPy file"
    description = f"{text}: the three likeliest classes of each image"
    parser = commands.add_parser("predict", parents=[common], help=text, description=description)
    parser.add_argument("image", metavar="IMAGE", help='a .npy array, or a picture file (extra "plot"): light on dark')
    parser.add_argument("--weights", required=True, metavar="CHECKPOINT", help="a file from train --save")
    parser.add_argument("--invert", action="store_true", help="the picture is dark on light")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Classify pictures; returns the exit code."""
    model, checkpoint = load_model(arguments.weights)
    settings = checkpoint.settings
    x = read_pictures(arguments.image, tuple(settings["shape"]), np.dtype(settings["dtype"]))
    _check_not_constant(arguments.image, x)
    probabilities = predict(model, 1 - x if arguments.invert else x)
    names = class_names(settings["data"], settings["classes"])
    answers = []
    for row in probabilities:
        order = np.argsort(-row)
        answers.append({"class": names[order[0]], "probabilities": {names[i]: float(row[i]) for i in order}})
        if not arguments.json:
            print("  ".join(f"{names[i]} {row[i]:.1%}" for i in order[:3]))
    if arguments.json:
        print(json.dumps({"image": arguments.image, "predictions": answers}))
    return 0


def _check_not_constant(name: str, x: np.ndarray) -> None:
    """A model would give a class to a picture of nothing at all, such as white ink on transparent paper.

    Only to pictures: who makes an array of numbers knows them.
    """
    if not name.endswith(".npy") and x.size > 1 and x.min() == x.max():
        raise DataError(
            f"{name}: nothing can be seen in the picture, which is {x.min():g} everywhere (0 is black, 1 is white, "
            f"and so is what is transparent); a picture with light and dark was needed"
        )
