"""The command: train, eval, predict, export-onnx, bench, info, warmup."""

from __future__ import annotations

import argparse
import copy
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fastconv import data as datasets
from fastconv._backend import use_backend
from fastconv._files import check_writeable
from fastconv._plan import explain
from fastconv._threads import get_num_threads, set_num_threads
from fastconv._warmup import warmup
from fastconv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastconv.comparison import compare_backends
from fastconv.config import VERSION, show_config
from fastconv.data.mnist import folder_labels_file
from fastconv.data.pictures import read_pictures
from fastconv.errors import DataError, DivergenceError, MissingExtraError
from fastconv.models import MODELS
from fastconv.nn import Sequential
from fastconv.optim import OPTIMIZERS, SCHEDULES, Optimizer
from fastconv.training import History, Pair, Position, Run, evaluate, fit, predict, train_step

DEFAULTS = {
    "model": "lenet5", "data": "digits", "batch_size": 64, "optimizer": "sgd", "schedule": "cosine", "seed": 0,
    "dtype": "float32",
}  # fmt: skip
DATA_SETS: dict[str, Callable[[], tuple[Pair, Pair]]] = {
    "digits": datasets.load_digits,
    "mnist": datasets.load_mnist,
    "fashion-mnist": datasets.load_fashion_mnist,
}
EPOCHS = {"digits": 30}  # the others are larger
OTHER_EPOCHS = 10


def _whole(least: int) -> Any:
    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {number}")
        return number

    parse.__name__ = "integer"  # argparse shows it: invalid integer value
    return parse


def _sizes(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 9:
        raise argparse.ArgumentTypeError(f"must be 9 integers, got {len(numbers)}")
    return numbers


def _rate(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"must be finite and at least 0, got {text}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastconv", description="Train small convolutional networks on a CPU, fast.")
    parser.add_argument("--version", action="version", version=f"fastconv {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=_whole(1), metavar="N", help="threads to run on (default: all processors)")
    common.add_argument("--backend", choices=("numba", "numpy"), default="numba", help="kernels or plain NumPy")
    common.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    source = "digits (embedded), mnist, fashion-mnist, or a folder of IDX files"

    train = commands.add_parser("train", parents=[common], help="train a model")
    train.add_argument("model", nargs="?", choices=sorted(MODELS), help="the model (default: lenet5)")
    train.add_argument("--data", metavar="DATA", help=f"{source} (default: digits)")
    train.add_argument(
        "--epochs", type=_whole(1), metavar="N", help="passes over the data (default: 30 digits, else 10)"
    )
    train.add_argument("--batch-size", type=_whole(1), metavar="N", help="images a step (default: 64)")
    train.add_argument(
        "--lr", type=_rate, metavar="RATE", help="learning rate (default: sgd 0.03, adagrad 0.01, others 0.001)"
    )
    train.add_argument("--optimizer", choices=sorted(OPTIMIZERS), help="(default: sgd, with momentum 0.9)")
    train.add_argument("--schedule", choices=sorted(SCHEDULES), help="of the learning rate (default: cosine)")
    train.add_argument("--dtype", choices=("float32", "float64"), help="of the weights (default: float32)")
    train.add_argument("--seed", type=_whole(0), metavar="N", help="of weights and shuffling (default: 0)")
    train.add_argument("--save", metavar="FILE", help="write a checkpoint (npz) after every epoch and at the end")
    train.add_argument("--resume", metavar="FILE", help="go on from a checkpoint, with its settings unless given anew")
    train.add_argument("--history", metavar="FILE", help="write the epochs as .csv or .json")
    train.add_argument("--plot", metavar="FILE", help='redraw the curves as a PNG every epoch (extra "plot")')
    train.set_defaults(run=_train)

    ev = commands.add_parser("eval", parents=[common], help="evaluate a checkpoint on test data")
    ev.add_argument("weights", metavar="CHECKPOINT", help="a file from train --save")
    ev.add_argument("--data", metavar="DATA", help=f"{source} (default: the checkpoint's)")
    ev.set_defaults(run=_eval)

    pr = commands.add_parser("predict", parents=[common], help="classify a picture or a NumPy file")
    pr.add_argument("image", metavar="IMAGE", help='a .npy array, or a picture file (extra "plot"): light on dark')
    pr.add_argument("--weights", required=True, metavar="CHECKPOINT", help="a file from train --save")
    pr.add_argument("--invert", action="store_true", help="the picture is dark on light")
    pr.set_defaults(run=_predict)

    ex = commands.add_parser("export-onnx", parents=[common], help='write a checkpoint as an ONNX file (extra "onnx")')
    ex.add_argument("weights", metavar="CHECKPOINT", help="a file from train --save")
    ex.add_argument("output", metavar="FILE", help="the file to write")
    ex.set_defaults(run=_export_onnx)

    bench = commands.add_parser("bench", parents=[common], help="time a LeNet-5 step against NumPy")
    bench.add_argument("--batch-size", type=_whole(1), default=64, metavar="N", help="images a step (default: 64)")
    bench.set_defaults(run=_bench)

    info = commands.add_parser("info", parents=[common], help="show versions, threads, cache and extras")
    sizes = "N,C,H,W,OC,KH,KW,STRIDE,PAD"
    info.add_argument("--explain", type=_sizes, metavar=sizes, help="show what would compute a convolution, and why")
    info.set_defaults(run=_info)

    warm = commands.add_parser("warmup", parents=[common], help="compile the kernels into the disk cache")
    warm.add_argument("--dtype", choices=("float32", "float64", "both"), default="both", help="(default: both)")
    warm.set_defaults(run=_warmup)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 failed or interrupted, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.threads is not None:
            set_num_threads(arguments.threads)
        with use_backend(arguments.backend):
            return arguments.run(arguments)
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, MemoryError, MissingExtraError) as error:
        print(f"fastconv: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nfastconv: interrupted; nothing was saved", file=sys.stderr)
        return 1


def _load(name: str) -> tuple[Pair, Pair]:
    return DATA_SETS[name]() if name in DATA_SETS else datasets.load_folder(name)


def _check_labels(data: str, classes: int, *, train: np.ndarray | None = None, test: np.ndarray) -> None:
    """Fail before any work, naming the file, where data has a label that a model restored from a file cannot have."""
    for labels, of_test in ((train, False), (test, True)):
        if labels is not None and labels.max() >= classes:
            source = data if data in DATA_SETS else folder_labels_file(data, of_test)
            raise DataError(
                f"{source}: has label {labels.max()}, labels from 0 to {classes - 1} were needed by this model"
            )


def _class_names(data: str, count: int) -> Sequence[str]:
    known = {
        "digits": datasets.DIGITS_CLASSES,
        "mnist": datasets.MNIST_CLASSES,
        "fashion-mnist": datasets.FASHION_MNIST_CLASSES,
    }
    return known.get(Path(data).name, [str(i) for i in range(count)])


def _settings(arguments: argparse.Namespace, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What was asked for, else what the checkpoint was trained with, else the defaults."""
    settings = {**DEFAULTS, "epochs": None, "lr": None, **(checkpoint.settings if checkpoint else {})}
    for name in (*DEFAULTS, "epochs", "lr"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
    if settings["epochs"] is None:
        settings["epochs"] = EPOCHS.get(settings["data"], OTHER_EPOCHS)
    return settings


def _build(settings: dict[str, Any]) -> Sequential:
    if settings.get("model") not in MODELS:
        raise DataError(f"the checkpoint names a model {settings.get('model')!r}, which does not exist")
    return MODELS[settings["model"]](
        num_classes=settings["classes"], in_channels=settings["shape"][0], rng=settings["seed"],
        dtype=np.dtype(settings["dtype"]),
    )  # fmt: skip


class _Reporter:
    """The progress bar, the files written after every epoch, and the answer to Ctrl-C."""

    def __init__(self, arguments: argparse.Namespace, settings: dict[str, Any], steps: int, position: Position):
        self.arguments, self.settings = arguments, settings
        self.interrupted = False
        # tqdm draws on standard error, and nothing where that is not a terminal
        self.bar = tqdm(total=steps * settings["epochs"], initial=position.epoch * steps + position.step, disable=None,
                        unit="step", dynamic_ncols=True)  # fmt: skip

    def on_interrupt(self, *_: Any) -> None:
        if self.interrupted:  # the second time, at once
            raise KeyboardInterrupt
        self.interrupted = True

    def __call__(self, run: Run) -> bool:
        if run.epoch_ended:
            self._epoch(run)
        else:
            self.bar.update()
            rate = run.position.images / max(run.position.seconds - self._before(run), 1e-9)
            accuracy = run.history.rows[-1]["test_accuracy"] if run.history.rows else None
            shown = "" if accuracy is None else f", test accuracy {accuracy:.2%}"
            self.bar.set_description(f"epoch {run.position.epoch + 1}/{run.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {run.loss:.4f}{shown}, {rate:,.0f} images/s", refresh=False)
        return self.interrupted

    @staticmethod
    def _before(run: Run) -> float:
        return run.history.rows[-1]["seconds"] if run.history.rows else 0.0

    def _epoch(self, run: Run) -> None:
        row = run.history.rows[-1]
        if not self.arguments.json:
            tqdm.write(
                f"epoch {row['epoch']:>3}: train loss {row['train_loss']:.4f}, test loss {row['test_loss']:.4f}, "
                f"test accuracy {row['test_accuracy']:.2%}, {row['images_per_second']:,.0f} images/s", file=sys.stdout
            )  # fmt: skip
        self.write(run.model, run.optimizer, run.history, run.position)

    def write(self, model: Any, optimizer: Optimizer, history: History, position: Position) -> None:
        if self.arguments.save:
            self.save(self.arguments.save, model, optimizer, history, position)
        if self.arguments.history:
            (history.to_json if self.arguments.history.endswith(".json") else history.to_csv)(self.arguments.history)
        if self.arguments.plot:
            from fastconv.viz import save_history

            save_history(history, self.arguments.plot)

    def save(self, path: str, model: Any, optimizer: Optimizer, history: History, position: Position) -> None:
        state = Checkpoint(model.state_dict(resumable=True), optimizer.state_dict(), self.settings, history, position)
        save_checkpoint(path, state)


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


def _train(arguments: argparse.Namespace) -> int:
    checkpoint = load_checkpoint(arguments.resume) if arguments.resume else None
    settings = _settings(arguments, checkpoint)
    _check_outputs(arguments)
    train, test = _load(settings["data"])
    dtype = np.dtype(settings["dtype"])
    train, test = (train[0].astype(dtype, copy=False), train[1]), (test[0].astype(dtype, copy=False), test[1])
    settings.setdefault("classes", int(max(train[1].max(), test[1].max())) + 1)
    settings.setdefault("shape", list(train[0].shape[1:]))
    _check_labels(settings["data"], settings["classes"], train=train[1], test=test[1])
    model = _build(settings)
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
    reporter = _Reporter(arguments, settings, -(-len(train[0]) // size), position)
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
            _print_comparison(compare_backends(size, steps=5, rounds=2))
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
    arguments: argparse.Namespace, reporter: _Reporter, model: Sequential, optimizer: Optimizer, history: History,
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


def _restored(path: str) -> tuple[Sequential, dict[str, Any], Checkpoint]:
    checkpoint = load_checkpoint(path)
    if not {"classes", "shape", "model", "dtype", "seed", "data"} <= checkpoint.settings.keys():
        raise DataError(f"{path}: holds no settings of a model; it must come from fastconv train --save")
    model = _build(checkpoint.settings)
    model.load_state_dict(checkpoint.model)
    return model, checkpoint.settings, checkpoint


def _eval(arguments: argparse.Namespace) -> int:
    model, settings, checkpoint = _restored(arguments.weights)
    data = arguments.data or settings["data"]
    _, (x, labels) = _load(data)
    _check_labels(data, settings["classes"], test=labels)
    start = time.perf_counter()
    loss, accuracy = evaluate(model, x.astype(settings["dtype"], copy=False), labels)
    seconds = time.perf_counter() - start
    rows = checkpoint.history.rows
    row = {
        "model": settings["model"], "data": data, "epochs": checkpoint.position.epoch,
        "train_loss": rows[-1]["train_loss"] if rows else None, "test_loss": loss, "test_accuracy": accuracy,
        "seconds": seconds, "images_per_second": len(x) / seconds, "threads": get_num_threads(),
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(row))
    else:
        print(f"test loss {loss:.4f}, test accuracy {accuracy:.2%} on {len(x):,} images of {data}")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    model, settings, _ = _restored(arguments.weights)
    x = read_pictures(arguments.image, tuple(settings["shape"]), np.dtype(settings["dtype"]))
    probabilities = predict(model, 1 - x if arguments.invert else x)
    names = _class_names(settings["data"], settings["classes"])
    answers = []
    for row in probabilities:
        order = np.argsort(-row)
        answers.append({"class": names[order[0]], "probabilities": {names[i]: float(row[i]) for i in order}})
        if not arguments.json:
            print("  ".join(f"{names[i]} {row[i]:.1%}" for i in order[:3]))
    if arguments.json:
        print(json.dumps({"image": arguments.image, "predictions": answers}))
    return 0


def _export_onnx(arguments: argparse.Namespace) -> int:
    from fastconv.onnx import export

    model, settings, _ = _restored(arguments.weights)
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


def _print_comparison(found: dict[str, Any]) -> None:
    print(
        f"a training step of {found['batch_size']} images: {1e3 * found['numba_float32']:.2f} ms; the NumPy backend "
        f"takes {1e3 * found['numpy_float64']:.1f} ms in float64 ({found['ratio_float64']:.1f} times as long) and "
        f"{1e3 * found['numpy_float32']:.1f} ms in float32 ({found['ratio_float32']:.1f} times)"
    )


def _bench(arguments: argparse.Namespace) -> int:
    found = compare_backends(arguments.batch_size) | {"threads": get_num_threads()}
    if arguments.json:
        print(json.dumps(found))
    else:
        _print_comparison(found)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    if arguments.explain:
        N, C, H, W, OC, KH, KW, stride, padding = arguments.explain
        found = explain(N, (C, H, W), (OC, C, KH, KW), stride, padding)
        print(json.dumps({"explain": found.splitlines()}) if arguments.json else found)
        return 0
    text = show_config()
    print(json.dumps(dict(line.split(None, 1) for line in text.splitlines())) if arguments.json else text)
    return 0


def _warmup(arguments: argparse.Namespace) -> int:
    dtypes = ("float32", "float64") if arguments.dtype == "both" else (arguments.dtype,)
    seconds = warmup(dtypes)
    if arguments.json:
        print(json.dumps({"dtypes": dtypes, "seconds": seconds}))
    else:
        print(f"kernels for {' and '.join(dtypes)} ready after {seconds:.1f} s")
    return 0
