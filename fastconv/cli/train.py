"""train: a model from data, with files to look at it, to use it and to go on."""

from __future__ import annotations

import argparse
import copy
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._files import check_writeable
from fastconv._threads import get_num_threads
from fastconv.checkpoint import Checkpoint, load_checkpoint
from fastconv.cli.arguments import UsageError, rate, whole
from fastconv.cli.bench import print_comparison
from fastconv.cli.reporter import Reporter
from fastconv.cli.saved import build
from fastconv.cli.sources import SOURCE, check_labels, load
from fastconv.comparison import compare_backends
from fastconv.errors import DivergenceError
from fastconv.models import MODELS
from fastconv.nn import Sequential
from fastconv.optim import OPTIMIZERS, SCHEDULES, Optimizer
from fastconv.training import History, Pair, Position, evaluate, fit, train_step

DEFAULTS = {
    "model": "lenet5", "data": "digits", "batch_size": 64, "optimizer": "sgd", "schedule": "cosine", "seed": 0,
    "dtype": "float32",
}  # fmt: skip
EPOCHS = {"digits": 30}  # the others are larger
OTHER_EPOCHS = 10


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("train", parents=[common], help="train a model")
    # not choices: argparse would take the value of a misspelt option for a wrong model
    parser.add_argument("model", nargs="?", metavar="MODEL", help=f"{', '.join(MODELS)} (default: lenet5)")
    parser.add_argument("--data", metavar="DATA", help=f"{SOURCE} (default: digits)")
    parser.add_argument(
        "--epochs", type=whole(1), metavar="N", help="passes over the data (default: 30 digits, else 10)"
    )
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="images a step (default: 64)")
    parser.add_argument(
        "--lr", type=rate, metavar="RATE", help="learning rate (default: sgd 0.03, adagrad 0.01, others 0.001)"
    )
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), help="(default: sgd, with momentum 0.9)")
    parser.add_argument("--schedule", choices=sorted(SCHEDULES), help="of the learning rate (default: cosine)")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of the weights (default: float32)")
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of weights and shuffling (default: 0)")
    parser.add_argument("--save", metavar="FILE", help="write a checkpoint (npz) after every epoch and at the end")
    parser.add_argument("--resume", metavar="FILE", help="go on from a checkpoint, with its settings unless given anew")
    parser.add_argument("--history", metavar="FILE", help="write the epochs as .csv or .json")
    parser.add_argument("--plot", metavar="FILE", help='redraw the curves as a PNG every epoch (extra "plot")')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    if arguments.model is not None and arguments.model not in MODELS:
        raise UsageError(f"argument MODEL: must be one of {', '.join(MODELS)}, got {arguments.model!r}")
    checkpoint = load_checkpoint(arguments.resume) if arguments.resume else None
    settings = _settings(arguments, checkpoint)
    _check_outputs(arguments)
    train, test = load(settings["data"])
    dtype = np.dtype(settings["dtype"])
    train, test = (train[0].astype(dtype, copy=False), train[1]), (test[0].astype(dtype, copy=False), test[1])
    settings.setdefault("classes", int(max(train[1].max(), test[1].max())) + 1)
    settings.setdefault("shape", list(train[0].shape[1:]))
    check_labels(settings["data"], settings["classes"], train=train[1], test=test[1])
    model = build(settings)
    model.output_shape((1, *train[0].shape[1:]))  # images of another size are told here
    make = OPTIMIZERS[settings["optimizer"]]
    optimizer = make(model.parameters()) if settings["lr"] is None else make(model.parameters(), settings["lr"])
    history, position = History(), Position()
    if checkpoint:
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_dict({**checkpoint.optimizer, "lr": optimizer.lr})
        history, position = checkpoint.history, checkpoint.position
    return _run(arguments, settings, model, optimizer, train, test, history, position)


def _run(
    arguments: argparse.Namespace, settings: dict[str, Any], model: Sequential, optimizer: Optimizer, train: Pair,
    test: Pair, history: History, position: Position,
) -> int:  # fmt: skip
    say = (lambda text: None) if arguments.json else print
    size = settings["batch_size"]
    say(f"{settings['model']} on {settings['data']}: {len(train[0]):,} images to learn from, {len(test[0]):,} to test, "
        f"{get_num_threads()} threads")  # fmt: skip
    compile_seconds = _compile(model, optimizer, *train, size)
    say(f"kernels ready after {compile_seconds:.1f} s (compiled once, then cached)")
    reporter = Reporter(arguments, settings, -(-len(train[0]) // size), position)
    before = signal.signal(signal.SIGINT, reporter.on_interrupt)
    try:
        fit(
            model, train, test, optimizer=optimizer, epochs=settings["epochs"], batch_size=size, rng=settings["seed"],
            schedule=SCHEDULES[settings["schedule"]], callbacks=[reporter], history=history, position=position,
        )  # fmt: skip
    except DivergenceError:
        if arguments.save:
            reporter.save(arguments.save, model, optimizer, history, position)
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        reporter.bar.close()
    if position.epoch < settings["epochs"]:
        return _interrupted(arguments, reporter, model, optimizer, history, position)
    row = _final(settings, model, history, position, test, train)
    if arguments.json:
        print(json.dumps(row))
    else:
        print(f"test accuracy {row['test_accuracy']:.2%} after {row['seconds']:.1f} s of training")
        if arguments.save:
            print(f"saved to {arguments.save}")
        if arguments.backend == "numba":
            print_comparison(compare_backends(size, steps=5, rounds=2))
    return 0


def _settings(arguments: argparse.Namespace, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What was asked for, else what the checkpoint was trained with, else the defaults."""
    settings = {**DEFAULTS, "epochs": None, "lr": None, **(checkpoint.settings if checkpoint else {})}
    for name in (*DEFAULTS, "epochs", "lr"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
    if settings["epochs"] is None:
        settings["epochs"] = EPOCHS.get(settings["data"], OTHER_EPOCHS)
    return settings


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Fail before the training, not after it."""
    for path in filter(None, (arguments.save, arguments.history, arguments.plot)):
        check_writeable(path)
    if arguments.history and not arguments.history.endswith((".csv", ".json")):
        raise ValueError(f"--history must end in .csv or .json, got {arguments.history!r}")
    if arguments.plot:
        from fastconv.viz import plot_history

        plot_history(History())


def _compile(model: Sequential, optimizer: Optimizer, x: np.ndarray, labels: np.ndarray, batch_size: int) -> float:
    """Take a step with a copy, so that compilation is not counted as training; returns the seconds it took."""
    start = time.perf_counter()
    spare_model, spare_optimizer = copy.deepcopy((model, optimizer))
    train_step(spare_model, x[:batch_size], labels[:batch_size], spare_optimizer)
    spare_model(x[:1])
    return time.perf_counter() - start


def _final(
    settings: dict[str, Any], model: Sequential, history: History, position: Position, test: Pair, train: Pair
) -> dict[str, Any]:
    if history.rows:
        last = history.rows[-1]
        speed = float(np.median([row["images_per_second"] for row in history.rows]))
    else:
        loss, accuracy = evaluate(model, *test)
        last, speed = {"train_loss": None, "test_loss": loss, "test_accuracy": accuracy}, 0.0
    return {
        "model": settings["model"], "data": settings["data"], "epochs": position.epoch,
        "train_loss": last["train_loss"], "test_loss": last["test_loss"], "test_accuracy": last["test_accuracy"],
        "seconds": position.seconds, "images_per_second": speed, "threads": get_num_threads(),
    }  # fmt: skip


def _interrupted(
    arguments: argparse.Namespace, reporter: Reporter, model: Sequential, optimizer: Optimizer, history: History,
    position: Position,
) -> int:  # fmt: skip
    path = arguments.save or _free_name("fastconv-interrupted")
    reporter.save(path, model, optimizer, history, position)
    print(f"interrupted after {position.epoch} epochs and {position.step} steps; saved to {path}", file=sys.stderr)
    print(f"go on with: fastconv train --resume {path} --save {path}", file=sys.stderr)
    return 1


def _free_name(stem: str) -> str:
    path, count = Path(f"{stem}.npz"), 1
    while path.exists():
        count += 1
        path = Path(f"{stem}-{count}.npz")
    return str(path)
