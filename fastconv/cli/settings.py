"""The options of a training, and what they come to with a checkpoint's and the defaults."""

from __future__ import annotations

import argparse
from typing import Any

from fastconv.checkpoint import Checkpoint
from fastconv.cli.arguments import UsageError, at_least, rate
from fastconv.cli.log_styles import STYLES
from fastconv.cli.sources import SOURCE
from fastconv.data.files import check_writeable
from fastconv.history import History
from fastconv.models import MODELS
from fastconv.nn import Sequential
from fastconv.optim import OPTIMIZERS, SCHEDULES, Optimizer
from fastconv.weights import check_weights_name

DEFAULTS: dict[str, Any] = {
    "model": "lenet5", "data": "digits", "epochs": None, "batch_size": 64, "lr": None, "optimizer": "sgd",
    "momentum": None, "schedule": "cosine", "clip_norm": None, "clip_value": None, "dtype": "float32", "seed": 0,
}  # fmt: skip
EPOCHS = {"digits": 30}  # the others are larger
OTHER_EPOCHS = 10


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare what a checkpoint keeps."""
    # not choices: argparse would take the value of a misspelt option for a wrong model
    metavar = f"{{{','.join(MODELS)}}}"
    parser.add_argument("model", nargs="?", metavar=metavar, help="the model (default: lenet5)")
    parser.add_argument("--data", metavar="DATA", help=f"{SOURCE} (default: digits)")
    parser.add_argument(
        "--epochs", type=at_least(1), metavar="N", help="passes over the data (default: 30 digits, else 10)"
    )
    parser.add_argument("--batch-size", type=at_least(1), metavar="N", help="images a step (default: 64)")
    parser.add_argument(
        "--lr", type=rate, metavar="RATE", help="learning rate (default: sgd 0.03, adagrad 0.01, others 0.001)"
    )
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), help="(default: sgd)")
    parser.add_argument("--momentum", type=rate, metavar="SHARE", help="of sgd (default: 0.9)")
    parser.add_argument("--schedule", choices=sorted(SCHEDULES), help="of the learning rate (default: cosine)")
    clip = parser.add_mutually_exclusive_group()
    clip.add_argument("--clip-norm", type=rate, metavar="MOST", help="shrink gradients to this norm, all together")
    clip.add_argument("--clip-value", type=rate, metavar="MOST", help="limit every gradient to -MOST..MOST")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of the weights (default: float32)")
    parser.add_argument("--seed", type=at_least(0), metavar="N", help="of weights and shuffling (default: 0)")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Declare what a run reads, writes and prints."""
    parser.add_argument("--save", metavar="FILE", help="write a checkpoint (npz) after every epoch and at the end")
    parser.add_argument("--resume", metavar="FILE", help="go on from a checkpoint, with its settings unless given anew")
    parser.add_argument(
        "--save-weights", metavar="FILE", help="write the weights alone, as .npz or .safetensors, after every epoch"
    )
    parser.add_argument(
        "--history",
        metavar="FILE",
        action="append",
        default=[],
        help="write the epochs as .csv or .json; may be given twice",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help='redraw the curves every epoch, as .png, .svg or .pdf (extra "plot")'
    )
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the curves' labels (default: en)")
    parser.add_argument(
        "--log-style",
        choices=tuple(STYLES),
        default="fastconv",
        help="print as fastconv does (default), or as tutorials for NumPy or PyTorch do",
    )


def settled(arguments: argparse.Namespace, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What was asked for, else what the checkpoint was trained with, else the defaults."""
    if arguments.model is not None and arguments.model not in MODELS:
        raise UsageError(f"argument MODEL: must be one of {', '.join(MODELS)}, got {arguments.model!r}")
    settings = {**DEFAULTS, **(checkpoint.settings if checkpoint else {})}
    asked = {name: value for name, value in vars(arguments).items() if name in DEFAULTS and value is not None}
    if asked.keys() & {"clip_norm", "clip_value"}:  # one takes the other's place
        settings |= {"clip_norm": None, "clip_value": None}
    settings |= asked
    if settings["optimizer"] != "sgd" and "momentum" in asked:
        raise UsageError(f"argument --momentum: is one of sgd, not of {settings['optimizer']}")
    if settings["epochs"] is None:
        settings["epochs"] = EPOCHS.get(settings["data"], OTHER_EPOCHS)
    return settings


def new_optimizer(settings: dict[str, Any], model: Sequential) -> Optimizer:
    """The optimiser that the settings describe."""
    names = ("lr", "momentum") if settings["optimizer"] == "sgd" else ("lr",)
    given = {name: settings[name] for name in names if settings[name] is not None}
    return OPTIMIZERS[settings["optimizer"]](model.parameters(), **given)


def check_outputs(arguments: argparse.Namespace) -> None:
    """Fail before the training, not after it."""
    for path in filter(None, (arguments.save, arguments.save_weights, arguments.plot, *arguments.history)):
        check_writeable(path)
    for path in arguments.history:
        if not path.endswith((".csv", ".json")):
            raise ValueError(f"--history must end in .csv or .json, got {path!r}")
    if arguments.save_weights:
        check_weights_name("--save-weights", arguments.save_weights)
    if arguments.plot:
        from fastconv.viz import plot_history
        from fastconv.viz.figures import check_suffix

        check_suffix("--plot", arguments.plot)
        plot_history(History(), language=arguments.language)
