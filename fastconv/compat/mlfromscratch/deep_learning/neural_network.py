"""The network: layers in a row, each of which updates itself on the way back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from tqdm import tqdm

from fastconv._arguments.sizes import integer
from fastconv.compat.mlfromscratch.deep_learning.base import Layer
from fastconv.compat.mlfromscratch.utils.data_manipulation import batch_iterator
from fastconv.compat.printing import framed, line


class NeuralNetwork:
    """A network of layers, with its optimiser and loss.

    Args:
        optimizer: each array of each layer takes a copy of it.
        loss: a class as `CrossEntropy`.
        validation_data: (X, y) to evaluate after each epoch, or None.
        dtype: of the weights that layers draw and of the data; float32 is faster.

    Attributes:
        layers: in their order.
        errors: the losses of each epoch, under `"training"` and `"validation"`.

    Example:
        >>> from fastconv.compat.mlfromscratch import Adam, Dense, SquareLoss
        >>> network = NeuralNetwork(Adam(), SquareLoss)
        >>> network.add(Dense(2, input_shape=(3,)))
        >>> network.predict(np.zeros((4, 3))).shape
        (4, 2)
    """

    def __init__(
        self, optimizer: Any, loss: Callable[[], Any], validation_data: tuple[np.ndarray, np.ndarray] | None = None, *,
        dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        if not callable(loss):
            raise TypeError(f"NeuralNetwork: loss must be a class as CrossEntropy, got {type(loss).__name__}")
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"NeuralNetwork: dtype must be float32 or float64, got {self.dtype}")
        self.optimizer = optimizer
        self.layers: list[Layer] = []
        self.errors: dict[str, list[float]] = {"training": [], "validation": []}
        self.loss_function = loss()
        self.progressbar = functools.partial(tqdm, desc="Training", disable=None, leave=False)
        self.val_set: dict[str, np.ndarray] | None = None
        if validation_data:
            self.val_set = dict(zip(("X", "y"), validation_data))

    def set_trainable(self, trainable: bool) -> None:
        """Let training change the layers' weights, or leave them."""
        for layer in self.layers:
            layer.trainable = trainable

    def add(self, layer: Layer) -> None:
        """Add a layer, tell it the shape of its input, and let it draw its weights."""
        if self.layers:
            layer.set_input_shape(shape=self.layers[-1].output_shape())
        layer.dtype = self.dtype
        if hasattr(layer, "initialize"):
            layer.initialize(optimizer=self.optimizer)
        self.layers.append(layer)

    def test_on_batch(self, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """The mean loss and the accuracy of a batch."""
        return self._judged(y, self._forward_pass(X, training=False))

    def train_on_batch(self, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """The mean loss and the accuracy of a batch; then every layer is updated."""
        y_pred = self._forward_pass(X)
        found = self._judged(y, y_pred)
        self._backward_pass(self.loss_function.gradient(y, y_pred).astype(y_pred.dtype, copy=False))
        return found

    def _judged(self, y: np.ndarray, y_pred: np.ndarray) -> tuple[float, float]:
        if np.shape(y) != y_pred.shape:  # would be broadcast
            raise ValueError(f"NeuralNetwork: y must have the shape {y_pred.shape} of the result, got {np.shape(y)}")
        return float(np.mean(self.loss_function.loss(y, y_pred))), self.loss_function.acc(y, y_pred)

    def fit(self, X: np.ndarray, y: np.ndarray, n_epochs: int, batch_size: int) -> tuple[list[float], list[float]]:
        """Train; the mean loss of each epoch in training, and after it on the validation data."""
        integer("fit", "batch_size", batch_size, 1)
        for _ in self.progressbar(range(integer("fit", "n_epochs", n_epochs))):
            losses = [self.train_on_batch(*batch)[0] for batch in batch_iterator(X, y, batch_size=batch_size)]
            self.errors["training"].append(float(np.mean(losses)))
            if self.val_set is not None:
                self.errors["validation"].append(self.test_on_batch(self.val_set["X"], self.val_set["y"])[0])
        return self.errors["training"], self.errors["validation"]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The result for a batch."""
        return self._forward_pass(X, training=False)

    def _forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        if self.dtype == np.float32:
            X = X.astype(self.dtype, copy=False)
        for layer in self.layers:
            X = layer.forward_pass(X, training)
        return X

    def _backward_pass(self, loss_grad: np.ndarray) -> None:
        for layer in reversed(self.layers):
            loss_grad = layer.backward_pass(loss_grad)

    def summary(self, name: str = "Model Summary") -> None:
        """Print a table of the layers."""
        if not self.layers:
            raise ValueError("NeuralNetwork: summary needs a layer")
        line(framed([[name]]))
        line(f"Input Shape: {self.layers[0].input_shape}")
        rows = [[layer.layer_name(), str(layer.parameters()), str(layer.output_shape())] for layer in self.layers]
        line(framed([["Layer Type", "Parameters", "Output Shape"], *rows]))
        line(f"Total Parameters: {sum(layer.parameters() for layer in self.layers)}\n")
