"""Training with drawn models, data and options, right ones and wrong ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
from fastconv import nn, optim
from fastconv.training import evaluate, fit, predict, train_step
from fuzzing.hunt import Findings, Hunt

CLASSES, SIDE = 4, 6
# what is wrong, for each function that takes it, and the words of which the message must have one
WRONG = {
    "grey images": (("fit", "evaluate", "predict", "train_step"), ("x[:, None]",)),
    "channels last": (("fit", "evaluate", "predict", "train_step"), ("transpose(0, 3, 1, 2)",)),
    "a list": (("fit", "evaluate", "predict", "train_step"), ("x ",)),
    "no model": (("fit", "evaluate", "predict", "train_step"), ("model",)),
    "no samples": (("fit", "evaluate", "train_step"), ("samples", "sample,")),
    "foreign optimiser": (("fit", "train_step"), ("optimizer",)),
    "partly foreign optimiser": (("fit", "train_step"), ("optimizer",)),
    "frozen": (("fit", "train_step"), ("optimizer",)),
    "no optimiser": (("fit", "train_step"), ("optimizer",)),
    "labels too large": (("fit", "evaluate", "train_step"), ("labels",)),
    "negative labels": (("fit", "evaluate", "train_step"), ("labels",)),
    "labels of floats": (("fit", "evaluate", "train_step"), ("labels",)),
    "labels of another length": (("fit", "evaluate", "train_step"), ("labels",)),
    "labels of three axes": (("fit", "evaluate", "train_step"), ("labels",)),
    "batch_size": (("fit", "evaluate", "predict"), ("batch_size",)),
    "epochs": (("fit",), ("epochs",)),
    "a pair of three": (("fit",), ("train",)),
}  # fmt: skip
OPTIMIZERS: tuple[Callable[[Any], optim.Optimizer], ...] = (
    lambda p: optim.SGD(p, 0.05), lambda p: optim.SGD(p, 0.05, 0.9), lambda p: optim.SGD(p, 0.05, 0.9, True, 1e-3),
)  # fmt: skip  # of smooth steps: Adam divides by gradients that may be nothing but rounding


def run(cases: int, seed: int, findings: Findings) -> None:
    """Draw the cases, each from a seed of its own."""
    for i in range(cases):
        rng = np.random.default_rng([seed, i])
        wrong = str(rng.choice(list(WRONG))) if rng.random() < 0.6 else ""
        called = str(rng.choice(WRONG[wrong][0] if wrong else ("fit", "evaluate", "predict", "train_step")))
        case = Case(rng, wrong)
        with findings.case("refused" if wrong else "trained" if case.trains(called) else "computed",
                           f"seed {seed} case {i}, {called}, {wrong or 'all right'}, {case}"):  # fmt: skip
            case.refused(called) if wrong else case.equal(called)


class Case:
    """A model, data for it, options, and perhaps one thing that is wrong."""

    def __init__(self, rng: np.random.Generator, wrong: str):
        self.wrong, self.dtype = wrong, rng.choice([np.float32, np.float64])
        N, C = int(rng.choice([1, 3, 8, 17, 24])), int(rng.choice([1, 2, 3]))
        if wrong in ("grey images", "channels last"):
            N, C = 8, 1 if wrong == "grey images" else 3
        self.model = drawn_model(rng, C, self.dtype)
        self.x = rng.standard_normal((N, C, SIDE, SIDE)).astype(self.dtype)
        self.labels = rng.integers(0, CLASSES, N).astype(rng.choice([np.uint8, np.int32, np.int64]))
        if rng.random() < 0.2:
            self.labels = np.eye(CLASSES, dtype=self.dtype)[self.labels]
        self.batch_size, self.epochs = int(rng.choice([1, 5, 8, 16, 99])), int(rng.integers(1, 3))
        self.number, self.some = int(rng.integers(len(OPTIMIZERS))), bool(rng.random() < 0.2)
        self.clip = 1.0 if rng.random() < 0.2 else None
        self.spoil(rng)

    def __str__(self) -> str:
        return (
            f"{self.model} x {np.shape(self.x)} {np.dtype(self.dtype)} labels {np.shape(self.labels)} "
            f"batch_size={self.batch_size} epochs={self.epochs} optimiser {self.number} some={self.some} "
            f"clip_norm={self.clip}"
        )

    def spoil(self, rng: np.random.Generator) -> None:
        N = len(self.x)
        if self.wrong == "grey images":
            self.x = self.x[:, 0]
        elif self.wrong == "channels last":
            self.x = self.x.transpose(0, 2, 3, 1)
        elif self.wrong == "a list":
            self.x = self.x.tolist()
        elif self.wrong == "no samples":
            self.x, self.labels = self.x[:0], self.labels[:0]
        elif self.wrong == "batch_size":
            self.batch_size = rng.choice([0, -1, None, 2.5, "8"])
        elif self.wrong == "epochs":
            self.epochs = rng.choice([-1, None, 1.5, "2"])
        elif self.wrong.startswith("labels") or self.wrong == "negative labels":
            self.labels = {
                "labels too large": np.full(N, CLASSES), "negative labels": np.full(N, -1, np.int8),
                "labels of floats": np.zeros(N), "labels of another length": np.zeros(N + 1, int),
                "labels of three axes": np.zeros((N, 1, 1), int),
            }[self.wrong]  # fmt: skip

    def trains(self, called: str) -> bool:
        return called in ("fit", "train_step")

    def optimizer(self, model: nn.Layer) -> Any:
        parameters, foreign = model.parameters(), nn.Linear(2, 2, rng=0).parameters()
        if self.wrong == "no optimiser":
            return None
        if self.wrong == "frozen":
            model.freeze()
        parameters = parameters[-2:] if self.some else parameters
        parameters = {"foreign optimiser": foreign, "partly foreign optimiser": parameters + foreign}.get(
            self.wrong, parameters
        )
        return OPTIMIZERS[self.number](parameters)

    def call(self, called: str, model: Any) -> Any:
        """What the function gives for a model: numbers or arrays."""
        given = None if self.wrong == "no model" else model
        if called == "predict":
            return predict(given, self.x, self.batch_size)
        if called == "evaluate":
            return np.array(evaluate(given, self.x, self.labels, self.batch_size)[0])
        optimizer = self.optimizer(model)
        if called == "train_step":
            return np.array(train_step(given, self.x, self.labels, optimizer, clip_norm=self.clip))
        train = (self.x, self.labels, 1) if self.wrong == "a pair of three" else (self.x, self.labels)
        history = fit(
            given, train, optimizer=optimizer, batch_size=self.batch_size, epochs=self.epochs, rng=0,
            clip_norm=self.clip,
        )  # fmt: skip
        return np.array([row["train_loss"] for row in history.rows])

    def refused(self, called: str) -> None:
        """A clear error, and the model as it was."""
        before = self.model.state_dict()
        try:
            self.call(called, self.model)
        except (ValueError, TypeError) as error:
            assert any(word in str(error) for word in WRONG[self.wrong][1]), f"unclear: {error}"
        else:
            raise AssertionError("was accepted")
        for name, value in self.model.state_dict().items():
            np.testing.assert_array_equal(value, before[name])

    def equal(self, called: str) -> None:
        """The numbers of the NumPy backend, and parameters that have changed and are finite."""
        twin, before = copy.deepcopy(self.model), self.model.state_dict()
        got = self.call(called, self.model)
        with fastconv.use_backend("numpy"):
            wanted = self.call(called, twin)
        # sums of some hundred terms in each of a few layers, and again in each of a few steps
        limit = 2000 * np.finfo(self.dtype).eps
        np.testing.assert_allclose(got, wanted, limit, limit)
        after = self.model.state_dict()
        assert all(np.isfinite(value).all() for value in after.values())
        changed = any(not np.array_equal(after[name], before[name]) for name in after)
        assert changed == self.trains(called), "parameters changed" if changed else "parameters are as they were"


def drawn_model(rng: np.random.Generator, C: int, dtype: Any) -> nn.Sequential:
    """A small network, smooth: no choice that rounding could turn, as a maximum's."""
    K, OC = int(rng.choice([1, 3])), int(rng.choice([2, 5]))
    smooth = [nn.Tanh, nn.Sigmoid][int(rng.integers(2))]
    layers: list[nn.Layer] = [nn.Conv2d(C, OC, K, padding=int(rng.integers(2)), rng=0, dtype=dtype), smooth()]
    if rng.random() < 0.4:
        layers.append(nn.AvgPool2d(2))
    if rng.random() < 0.3:
        layers.append(nn.Residual(nn.Conv2d(OC, OC, 3, padding=1, rng=1, dtype=dtype)))
    layers.append(nn.Flatten())
    features = nn.Sequential(*layers).output_shape((1, C, SIDE, SIDE))[1]
    return nn.Sequential(*layers, nn.Linear(features, CLASSES, rng=2, dtype=dtype))


HUNT = Hunt(
    promise="Training either trains, to the numbers of the NumPy backend, or says which argument is wrong.",
    how="Drawn models, data and options of `fit`, `evaluate`, `predict` and `train_step`, six of ten with one fault.",
    run=run,
    short=60,
    long=1000,
)
