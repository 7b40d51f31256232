"""Batch normalisation of every feature by itself: of an image, of every pixel of every channel."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fastconv._arguments.scalars import number
from fastconv.compat.features import batch_normalised, batch_statistics, normalised, normalised_backward
from fastconv.compat.mlfromscratch.deep_learning.base import Layer


class BatchNormalization(Layer):
    """Every feature with mean 0 and variance 1 over the batch, times gamma, plus beta.

    In training, mean and variance are the batch's; in inference, or where the layer is not trainable, the running
    ones, through which no gradient goes. (The tutorial sends one there.)

    Args:
        momentum: how much of the running statistics each batch leaves.

    Attributes:
        gamma: of the shape of a sample, ones at first.
        beta: likewise, zeros.
        running_mean: of that shape; the first batch's at first.
        running_var: likewise.
        X_centered: the last batch less its mean, computed when it is read.
        stddev_inv: 1 / sqrt(variance + 0.01) of the last batch.

    Example:
        >>> layer = BatchNormalization()
        >>> layer.set_input_shape((1,))
        >>> layer.initialize(None)
        >>> layer.forward_pass(np.array([[0.0], [2.0]])).round(3)
        array([[-0.995],
               [ 0.995]])
    """

    def __init__(self, momentum: float = 0.99):
        self.momentum = number("BatchNormalization", "momentum", momentum, 0, 1)
        self.eps = 0.01
        self.running_mean: Any = None
        self.running_var: Any = None
        self.layer_input: np.ndarray | None = None

    def initialize(self, optimizer: Any) -> None:
        """Make gamma and beta, and take a copy of the optimiser for each; None leaves them as they are."""
        shape = self._shape()
        self.gamma, self.beta = np.ones(shape, self.dtype), np.zeros(shape, self.dtype)
        self.gamma_opt, self.beta_opt = copy.copy(optimizer), copy.copy(optimizer)

    def parameters(self) -> int:
        """The number of elements of gamma and beta."""
        return self.gamma.size + self.beta.size

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The normalised batch."""
        self._of_batch = bool(training and self.trainable)
        self.layer_input = X
        if not self._of_batch:
            if self.running_mean is None:
                self.running_mean, self.running_var = (a.reshape(X.shape[1:]) for a in batch_statistics(X))
            self._used = self.running_mean, self.running_var, self.gamma
            return normalised(X, *self._used, self.beta, self.eps)
        y, *statistics = batch_normalised(X, self.gamma, self.beta, self.eps)
        mean, var = (a.reshape(X.shape[1:]) for a in statistics)
        if self.running_mean is None:
            self.running_mean, self.running_var = mean, var
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        self._used = mean, var, self.gamma
        return y

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch; then gamma and beta are updated."""
        X = self._went_forward(self.layer_input)
        grad_x, grad_gamma, grad_beta = normalised_backward(accum_grad, X, *self._used, self.eps, self._of_batch)
        if self.trainable and self.gamma_opt is not None:
            self.gamma = self.gamma_opt.update(self.gamma, grad_gamma.reshape(self.gamma.shape))
            self.beta = self.beta_opt.update(self.beta, grad_beta.reshape(self.beta.shape))
        return grad_x

    @property
    def X_centered(self) -> np.ndarray:
        """The last batch less the mean that was taken."""
        return self._went_forward(self.layer_input) - self._used[0]

    @property
    def stddev_inv(self) -> np.ndarray:
        """What the last batch was multiplied by."""
        self._went_forward(self.layer_input)
        return 1 / np.sqrt(self._used[1] + self.eps)

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the input."""
        return self._shape()
