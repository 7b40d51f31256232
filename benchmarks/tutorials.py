"""Measure the tutorials' code against fastconv, and train their networks on the real data, for RESULTS.md.

`python benchmarks/tutorials.py --results results.json --write benchmarks/RESULTS.md`; with `--results` what has been
measured is kept, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from tqdm import tqdm

import fastconv
from benchmarks.by_hand import IndexedConv, LoopedLeNet
from benchmarks.measure import smallest
from benchmarks.report import Section, add_write, aligned, milliseconds, published, times_as_fast
from benchmarks.tables import conditions
from fastconv.compat import dlfs, mlfromscratch, nhwc
from fastconv.data import load_fashion_mnist, load_mnist
from fastconv.data.files import written_atomically
from fastconv.history import History
from fastconv.models import MODELS
from fastconv.nn import Sequential
from fastconv.optim import SGD, Adagrad, Adam, Optimizer
from fastconv.training import fit, train_step

SECTION = Section("<!-- tutorials:begin -->", "<!-- tutorials:end -->")
EPOCH = 60_000  # images
Call = Callable[[], Any]


class Code(NamedTuple):
    """The same work by a tutorial's code, with its import changed, and by a step of fastconv's own model."""

    images: int
    tutorial: Call
    changed: Call | None
    model: Call | None


def step_of(name: str, batch_size: int, rate: float) -> Call:
    """A training step in float32 with a model of `fastconv.models`."""
    model, rng = MODELS[name](rng=0), np.random.default_rng(0)
    x, labels = rng.random((batch_size, 1, 28, 28), np.float32), rng.integers(0, 10, batch_size)
    optimizer = SGD(model.parameters(), rate)
    return lambda: train_step(model, x, labels, optimizer)


def on_numpy(call: Call) -> Call:
    """A call on the NumPy backend."""

    def called() -> Any:
        with fastconv.use_backend("numpy"):
            return call()

    return called


def indexed() -> Code:
    """A layer of 16 filters, forward and backward, 64 images of 3 x 32 x 32."""
    rng = np.random.default_rng(0)
    x, grad_y = rng.random((64, 3, 32, 32)), rng.random((64, 16, 32, 32))
    conv = mlfromscratch.Conv2D(16, (3, 3), input_shape=(3, 32, 32))
    conv.initialize(Descent())
    by_hand = IndexedConv(conv.W)

    def changed() -> None:
        conv.forward_pass(x)
        conv.backward_pass(grad_y)

    return Code(64, lambda: by_hand.step(x, grad_y), changed, None)


class Descent:
    """An optimiser as ML-From-Scratch has them."""

    def update(self, w: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """One step."""
        return w - 1e-6 * grad


def of_the_book() -> Code:
    """SimpleConvNet's gradient of 100 images."""
    network, rng = dlfs.SimpleConvNet(), np.random.default_rng(0)
    x, t = rng.random((100, 1, 28, 28)), rng.integers(0, 10, 100)

    def changed() -> None:
        network.gradient(x, t)

    return Code(100, on_numpy(changed), changed, step_of("simple-convnet", 100, 0.01))


def looped() -> Code:
    """A gradient of LeNet-5 by hand of 300 images."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.1, shape) for shape in ((5, 3, 3, 1), (4, 3, 3, 5), (100, 50), (50, 10))]
    x, labels = rng.random((300, 28, 28, 1)), np.eye(10)[rng.integers(0, 10, 300)]
    net = LoopedLeNet(weights)

    def changed() -> None:
        cashes, probabilities = nhwc.forward(x, weights)
        found = nhwc.full_backprop(probabilities - labels, cashes[5])
        found = nhwc.full_backprop(found["delta_pre"], cashes[4])
        found = nhwc.conv_backprop(nhwc.pool_backprop(found["delta_pre"], cashes[3]), cashes[2])
        nhwc.conv_backprop(nhwc.pool_backprop(found["delta_pre"], cashes[1], flattened=False), cashes[0])

    return Code(300, lambda: net.gradients(x, labels), changed, step_of("lenet5-by-hand", 300, 0.01))


def with_sigmoids() -> Code:
    """A step of LeNet-5 with sigmoids on 200 images; the tutorial's code is PyTorch's, so NumPy stands in for it."""
    step = step_of("lenet5-sigmoid", 200, 0.9)
    return Code(200, on_numpy(step), None, step)


CODES: dict[str, Callable[[], Code]] = {
    "ML-From-Scratch: `Conv2D` of 16 filters, indexed columns": indexed,
    "Deep Learning from Scratch: `SimpleConvNet`, NumPy backend": of_the_book,
    "LeNet-5 by hand, channels last, Python loops": looped,
    "LeNet-5 with sigmoids, NumPy backend": with_sigmoids,
}


class Training(NamedTuple):
    """A network, its data and settings, and what the tutorial (or the paper) says it reached."""

    name: str
    fashion: bool
    settings: str
    reported: str
    epochs: int
    batch_size: int
    optimizer: Callable[[Sequential], Optimizer]


class Both(Optimizer):
    """Two optimisers, each of some of a model's parameters."""

    def __init__(self, *optimizers: Optimizer):
        super().__init__([p for optimizer in optimizers for p in optimizer.parameters], optimizers[0].lr)
        self.optimizers = optimizers
        self.slots = {f"{i}.{name}": slot for i, one in enumerate(optimizers) for name, slot in one.slots.items()}

    def step(self, lr_factor: float = 1.0) -> None:
        """Let each take a step."""
        self.steps += 1
        for optimizer in self.optimizers:
            optimizer.step(lr_factor)


TRAININGS = (
    Training(
        "simple-convnet", False, "Adam 0.001, batch 100", "98.96%, 20 epochs", 20, 100,
        lambda model: Adam(model.parameters(), 1e-3),
    ),
    Training(
        "lenet5-by-hand", False, "Adagrad 0.01 from 0.001, batch 64", "80%, 76 rounds", 1, 64,
        lambda model: Adagrad(model.parameters(), 0.01, initial_accumulator_value=1e-3, eps=0),
    ),
    Training(
        "lenet5-tensorflow", False, "Adam 0.0001, L2 0.05 on the dense layers, batch 1000", "not said", 40, 1000,
        lambda model: Both(Adam(model[:6].parameters(), 1e-4), Adam(model[6:].parameters(), 1e-4, weight_decay=0.05)),
    ),
    Training(
        "lenet5-classic", False, "Adam 0.001, batch 64", "99.05%, 20 epochs", 10, 64,
        lambda model: Adam(model.parameters(), 1e-3),
    ),
    Training(
        "lenet5-sigmoid", True, "SGD 0.9, batch 200", "about 90%", 60, 200,
        lambda model: SGD(model.parameters(), 0.9),
    ),
)  # fmt: skip


def timed(make: Callable[[], Code], budget: float) -> dict[str, float]:
    """Seconds for each image."""
    code = make()
    found = {}
    for side in ("tutorial", "changed", "model"):
        call = getattr(code, side)
        if call:
            call()  # compiles
            found[side] = smallest(call, budget) / code.images
    return found


def trained(training: Training, images: int | None = None) -> list[dict[str, Any]]:
    """The history of a run, with `images` to learn from and to test."""
    train, test = ((x[:images], y[:images]) for x, y in (load_fashion_mnist if training.fashion else load_mnist)())
    model = MODELS[training.name](rng=0)
    train_step(model, train[0][:64], train[1][:64], SGD(model.parameters(), 0.0))  # compiles
    options = {"epochs": training.epochs if images is None else 1, "batch_size": training.batch_size}
    return fit(model, train, test, optimizer=training.optimizer(model), rng=0, **options).rows


def speed_table(found: dict[str, dict[str, float]]) -> list[str]:
    """A row for each tutorial."""
    rows = []
    for name in CODES:
        if name in found:
            times = found[name]
            cells = [milliseconds(times["tutorial"])]
            for side in ("changed", "model"):
                faster = f"**{times_as_fast(times['tutorial'] / times[side])}** " if side in times else ""
                cells.append(f"{faster}{milliseconds(times[side])}" if side in times else "-")
            best = min(times.values())
            rows.append([name, *cells, f"{EPOCH * times['tutorial']:,.1f} s", f"{EPOCH * best:,.1f} s"])
    header = ["each image", "tutorial", "import changed", "`fastconv.models`", "its epoch of 60,000", "fastconv's"]
    return aligned(header, rows)


def accuracy_table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A row for each network."""
    rows = []
    for training in TRAININGS:
        if training.name in found:
            history = found[training.name]
            last, data = history[-1], "Fashion-MNIST" if training.fashion else "MNIST"
            epochs = f"{len(history)} epoch{'s' if len(history) > 1 else ''}"
            reached = f"**{last['test_accuracy']:.2%}**, {epochs}"
            cells = [data, training.settings, training.reported, reached, f"{last['seconds']:.1f} s"]
            rows.append([f"`{training.name}`", *cells])
    return aligned(["network", "data", "settings", "tutorial", "fastconv, test accuracy", "seconds"], rows)


def tables(results: dict[str, dict[str, Any]]) -> str:
    """Everything that stands between the markers."""
    return "\n".join([
        f"The smallest of several times; training in float32, evaluation included. {conditions()}.", "",
        *speed_table(results["speed"]), "", *accuracy_table(results["training"]),
    ])  # fmt: skip


def measured(path: Path | None, quick: bool) -> dict[str, dict[str, Any]]:
    """What is not yet in the file of results, measured and put there."""
    results: dict[str, dict[str, Any]] = {"speed": {}, "training": {}}
    if path and path.exists():
        results = json.loads(path.read_text())
    jobs: list[tuple[str, str, Callable[[], Any]]] = [
        ("speed", name, lambda make=make: timed(make, 0.0 if quick else 0.5)) for name, make in CODES.items()
    ]
    jobs += [("training", t.name, lambda t=t: trained(t, 200 if quick else None)) for t in TRAININGS]
    for kind, name, job in tqdm(jobs, disable=None, leave=False):
        if name not in results[kind]:
            results[kind][name] = job()
            if path:
                with written_atomically(path) as file:
                    file.write(json.dumps(results).encode())
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write if asked to; 1 if something cannot be read or written."""
    parser = argparse.ArgumentParser(prog="tutorials.py", description="The tutorials' code and networks, and fastconv.")
    add_write(parser, SECTION)
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep measurements; what is there is not repeated")
    parser.add_argument("--curve", type=Path, metavar="FILE", help="draw the curves of LeNet-5 with sigmoids")
    parser.add_argument("--quick", action="store_true", help="a call, 200 images each: to try it, not to publish")
    options = parser.parse_args(arguments)

    def text() -> str:
        results = measured(options.results, options.quick)
        if options.curve:
            from fastconv.viz import save_history

            save_history(History(results["training"]["lenet5-sigmoid"]), options.curve)
        return tables(results)

    return published(parser.prog, SECTION, options.write, text)


if __name__ == "__main__":
    sys.exit(main())
