"""train: a model from data, with files to look at it, to use it and to go on."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._runtime.threads import get_num_threads
from fastconv.checkpoint import build_model, check_settings, load_checkpoint, restore
from fastconv.cli.compiling import compile_training
from fastconv.cli.reporter import Reporter
from fastconv.cli.settings import add_outputs, add_settings, check_outputs, new_optimizer, settled
from fastconv.cli.sources import check_labels, load
from fastconv.comparison import compare_backends
from fastconv.data.reading import damage
from fastconv.errors import DivergenceError, ShapeError
from fastconv.history import History
from fastconv.nn import Sequential
from fastconv.optim import SCHEDULES, Optimizer
from fastconv.training import Pair, Position, evaluate, fit


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = "train a model"
    description = f"{text}, test it after every epoch, and at the end time a step against the NumPy backend"
    parser = commands.add_parser("train", parents=[common], help=text, description=description)
    add_settings(parser)
    add_outputs(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    checkpoint = load_checkpoint(arguments.resume) if arguments.resume else None
    if checkpoint:
        check_settings(arguments.resume, checkpoint)
    settings = settled(arguments, checkpoint)
    check_outputs(arguments)
    train, test = load(settings["data"])
    dtype = np.dtype(settings["dtype"])
    train, test = (train[0].astype(dtype, copy=False), train[1]), (test[0].astype(dtype, copy=False), test[1])
    settings.setdefault("classes", int(max(train[1].max(), test[1].max())) + 1)
    settings.setdefault("shape", list(train[0].shape[1:]))
    check_labels(settings["data"], settings["classes"], train=train[1], test=test[1])
    model = build_model(settings)
    _check_images(settings, model, train[0].shape[1:])
    optimizer = new_optimizer(settings, model)
    history, position = History(), Position()
    if checkpoint:
        restore(arguments.resume, checkpoint, settings["model"], model)
        with damage(arguments.resume, f"a checkpoint of {settings['optimizer']}"):
            optimizer.load_state_dict({**checkpoint.optimizer, "lr": optimizer.lr})
        history, position = checkpoint.history, checkpoint.position
    return _run(arguments, settings, model, optimizer, train, test, history, position)


def _check_images(settings: dict[str, Any], model: Sequential, shape: tuple[int, ...]) -> None:
    try:
        model.output_shape((1, *shape))
    except ShapeError as error:
        size = " x ".join(map(str, shape))
        raise ShapeError(f"{settings['model']} takes no images of {size}, as {settings['data']} has: {error}") from None


def _run(
    arguments: argparse.Namespace, settings: dict[str, Any], model: Sequential, optimizer: Optimizer, train: Pair,
    test: Pair, history: History, position: Position,
) -> int:  # fmt: skip
    say = (lambda text: None) if arguments.json else print
    size = settings["batch_size"]
    say(f"{settings['model']} on {settings['data']}: {len(train[0]):,} images to learn from, {len(test[0]):,} to test, "
        f"{get_num_threads()} threads")  # fmt: skip
    clip = {name: settings[name] for name in ("clip_norm", "clip_value")}
    compile_seconds = compile_training(model, optimizer, train, test, size, **clip)
    say(f"kernels ready after {compile_seconds:.1f} s (compiled once, then cached)")
    reporter = Reporter(arguments, settings, len(train[0]), position)
    reporter.say(reporter.style.start(model, (size, *settings["shape"])))
    before = signal.signal(signal.SIGINT, reporter.on_interrupt)
    try:
        fit(
            model, train, test, optimizer=optimizer, epochs=settings["epochs"], batch_size=size, rng=settings["seed"],
            schedule=SCHEDULES[settings["schedule"]], callbacks=[reporter], history=history, position=position, **clip,
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
            _print_comparison(settings, train[0][:size], train[1][:size], clip)
    return 0


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
    words = ["fastconv", "train", "--resume", path, "--save", path, *_outputs(arguments)]
    print(f"go on with: {shlex.join(words)}", file=sys.stderr)
    return 1


def _outputs(arguments: argparse.Namespace) -> list[str]:
    """The options with which the run that goes on writes and prints the same."""
    files = [("--save-weights", arguments.save_weights), ("--plot", arguments.plot)]
    files += [("--history", path) for path in arguments.history]
    styles = [("--language", arguments.language, "en"), ("--log-style", arguments.log_style, "fastconv")]
    files += [(name, value) for name, value, usual in styles if value != usual]
    return [word for name, value in files if value for word in (name, value)]


def _free_name(stem: str) -> str:
    path, count = Path(f"{stem}.npz"), 1
    while path.exists():
        count += 1
        path = Path(f"{stem}-{count}.npz")
    return str(path)


def _print_comparison(
    settings: dict[str, Any], x: np.ndarray, labels: np.ndarray, clip: dict[str, float | None]
) -> None:
    def make(dtype: str) -> tuple[Sequential, Optimizer]:
        model = build_model({**settings, "dtype": dtype})
        return model, new_optimizer(settings, model)

    found = compare_backends(make, x, labels, steps=5, rounds=2, **clip)
    times = [
        f"{1e3 * found[f'numpy_{dtype}']:.1f} ms in {dtype} ({found[f'ratio_{dtype}']:.1f} times{words})"
        for dtype, words in (("float64", " as long"), ("float32", ""))
        if f"numpy_{dtype}" in found
    ]
    print(f"a training step of {found['batch_size']} images: {1e3 * found['numba']:.2f} ms; the NumPy backend takes "
          f"{' and '.join(times)}")  # fmt: skip
