"""The recurrent layer, which the tutorial's scripts of convolutional networks import too."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import integer
from fastconv.compat.mlfromscratch.deep_learning.base import Layer
from fastconv.compat.mlfromscratch.deep_learning.units import activation_functions


class RNN(Layer):
    """s[t] = activation(x[t] @ U.T + s[t-1] @ W.T), y[t] = s[t] @ V.T, for sequences x (N, T, D).

    Args:
        n_units: the size S of a state.
        activation: the name of its function.
        bptt_trunc: how many states a gradient goes back through.
        input_shape: (T, D); the network tells it to any but the first layer.

    Attributes:
        U: (S, D), uniform within 1/sqrt(D). V: (D, S), and W: (S, S), uniform within 1/sqrt(S).

    Example:
        >>> layer = RNN(4, input_shape=(3, 2))
        >>> layer.initialize(None)
        >>> layer.forward_pass(np.zeros((5, 3, 2))).shape, layer.parameters()
        ((5, 3, 2), 32)
    """

    def __init__(
        self, n_units: int, activation: str = "tanh", bptt_trunc: int = 5, input_shape: tuple[int, int] | None = None
    ):
        self.n_units = integer("RNN", "n_units", n_units, 1)
        self.activation = activation_functions[one_of("RNN", "activation", activation, activation_functions)]()
        self.bptt_trunc = integer("RNN", "bptt_trunc", bptt_trunc)
        self.input_shape = input_shape
        self.layer_input: np.ndarray | None = None
        self.W: Any = None
        self.V: Any = None
        self.U: Any = None

    def initialize(self, optimizer: Any) -> None:
        """Draw the weights and take a copy of the optimiser for each array; None leaves them as they are drawn."""
        _, D = self._shape(2)
        shapes, inputs = ((self.n_units, D), (D, self.n_units), (self.n_units, self.n_units)), (D, *2 * (self.n_units,))
        self.U, self.V, self.W = (
            np.random.uniform(-1 / math.sqrt(n), 1 / math.sqrt(n), shape).astype(self.dtype, copy=False)  # noqa: NPY002
            for shape, n in zip(shapes, inputs)
        )
        self.U_opt, self.V_opt, self.W_opt = (copy.copy(optimizer) for _ in range(3))

    def parameters(self) -> int:
        """The number of weights."""
        return self.W.size + self.U.size + self.V.size

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The outputs (N, T, D)."""
        N, T, D = X.shape
        self.layer_input = X
        self.state_input = np.zeros((N, T, self.n_units), self.U.dtype)
        self.states = np.zeros((N, T + 1, self.n_units), self.U.dtype)  # the last is the state before the first
        self.outputs = np.zeros((N, T, D), self.U.dtype)
        for t in range(T):
            self.state_input[:, t] = X[:, t] @ self.U.T + self.states[:, t - 1] @ self.W.T
            self.states[:, t] = self.activation(self.state_input[:, t])
            self.outputs[:, t] = self.states[:, t] @ self.V.T
        return self.outputs

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch, of as many steps as the weights'; then the weights are updated.

        (The tutorial's has each step's own part alone, and updates the weights of a layer that is not trainable.)
        """
        X = self._went_forward(self.layer_input)
        grad_U, grad_V, grad_W = np.zeros_like(self.U), np.zeros_like(self.V), np.zeros_like(self.W)
        grad_x = np.zeros_like(accum_grad)
        for t in reversed(range(accum_grad.shape[1])):
            grad_V += accum_grad[:, t].T @ self.states[:, t]
            g = accum_grad[:, t] @ self.V * self.activation.gradient(self.state_input[:, t])
            for s in reversed(range(max(0, t - self.bptt_trunc), t + 1)):
                grad_x[:, s] += g @ self.U
                grad_U += g.T @ X[:, s]
                grad_W += g.T @ self.states[:, s - 1]
                if s:
                    g = g @ self.W * self.activation.gradient(self.state_input[:, s - 1])
        if self.trainable and self.U_opt is not None:
            self.U = self.U_opt.update(self.U, grad_U)
            self.V = self.V_opt.update(self.V, grad_V)
            self.W = self.W_opt.update(self.W, grad_W)
        return grad_x

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the input."""
        return self._shape(2)
