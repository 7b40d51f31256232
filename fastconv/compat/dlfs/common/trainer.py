"""The loop that trains a network of the book."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import integer
from fastconv.compat.dlfs.common.optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from fastconv.compat.printing import line

OPTIMIZERS: dict[str, Any] = {
    "sgd": SGD, "momentum": Momentum, "nesterov": Nesterov, "adagrad": AdaGrad, "rmsprop": RMSprop, "adam": Adam,
}  # fmt: skip


class Trainer:
    """Batches drawn from NumPy's global state, an optimiser's step for each, and accuracies after each epoch's first.

    Args:
        network: has `gradient`, `loss`, `accuracy` and `params`.
        x_train: what it learns from.
        t_train: their labels.
        x_test: what it is tested with.
        t_test: their labels.
        epochs: how often as many batches are drawn as the data has.
        mini_batch_size: images in a batch.
        optimizer: the name of one, in upper or lower case.
        optimizer_param: its arguments.
        evaluate_sample_num_per_epoch: how many images accuracies are taken of; None is all.
        verbose: whether losses and accuracies are printed.

    Attributes:
        train_loss_list: the loss after each step.
        train_acc_list: the accuracy at the beginning of each epoch.
        test_acc_list: likewise, of the test.
    """

    def __init__(
        self, network: Any, x_train: np.ndarray, t_train: np.ndarray, x_test: np.ndarray, t_test: np.ndarray,
        epochs: int = 20, mini_batch_size: int = 100, optimizer: str = "SGD",
        optimizer_param: Mapping[str, Any] | None = None, evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
    ):  # fmt: skip
        self.network = network
        self.x_train, self.t_train, self.x_test, self.t_test = x_train, t_train, x_test, t_test
        self.epochs = integer("Trainer", "epochs", epochs)
        self.batch_size = integer("Trainer", "mini_batch_size", mini_batch_size, 1)
        lower = optimizer.lower() if isinstance(optimizer, str) else optimizer
        name = one_of("Trainer", "optimizer", lower, OPTIMIZERS)
        self.optimizer = OPTIMIZERS[name](**({"lr": 0.01} if optimizer_param is None else optimizer_param))
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.verbose = verbose
        self.train_size = len(x_train)
        # the book's may be a fraction, of which no number of batches is a multiple: then nothing is evaluated
        self.iter_per_epoch = max(self.train_size // self.batch_size, 1)
        self.max_iter = self.epochs * self.iter_per_epoch
        self.current_iter = self.current_epoch = 0
        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []

    def train_step(self) -> None:
        """A batch, a step, and the loss after it; at the beginning of an epoch the accuracies too."""
        chosen = np.random.choice(self.train_size, self.batch_size)  # noqa: NPY002
        x, t = self.x_train[chosen], self.t_train[chosen]
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        loss = self.network.loss(x, t)
        self.train_loss_list.append(loss)
        self._tell(f"train loss:{loss}")
        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            some = slice(self.evaluate_sample_num_per_epoch)
            for found, x, t in (
                (self.train_acc_list, self.x_train, self.t_train), (self.test_acc_list, self.x_test, self.t_test),
            ):  # fmt: skip
                found.append(self.network.accuracy(x[some], t[some]))
            reached = f"train acc:{self.train_acc_list[-1]}, test acc:{self.test_acc_list[-1]}"
            self._tell(f"=== epoch:{self.current_epoch}, {reached} ===")
        self.current_iter += 1

    def train(self) -> None:
        """All epochs, and then the accuracy on the whole test."""
        for _ in range(self.max_iter):
            self.train_step()
        reached = self.network.accuracy(self.x_test, self.t_test)
        self._tell("=============== Final Test Accuracy ===============")
        self._tell(f"test acc:{reached}")

    def _tell(self, text: str) -> None:
        if self.verbose:
            line(text)
