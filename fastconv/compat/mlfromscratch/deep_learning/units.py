"""Layers of units: fully connected, activations, dropout."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.names import one_of
from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer
from fastconv.compat.features import dropped, masked, relu_gradient
from fastconv.compat.mlfromscratch.deep_learning.activation_functions import (
    ELU,
    SELU,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    SoftPlus,
    TanH,
)
from fastconv.compat.mlfromscratch.deep_learning.base import Layer

activation_functions: dict[str, Any] = {
    "relu": ReLU, "sigmoid": Sigmoid, "selu": SELU, "elu": ELU, "softmax": Softmax, "leaky_relu": LeakyReLU,
    "tanh": TanH, "softplus": SoftPlus,
}  # fmt: skip


class Dense(Layer):
    """The product X @ W + w0 of rows X (N, IN).

    Args:
        n_units: OUT.
        input_shape: (IN,); the network tells it to any but the first layer.

    Attributes:
        W: the weights (IN, OUT), uniform from -1/sqrt(IN) to 1/sqrt(IN).
        w0: the biases (1, OUT), zeros at first.

    Example:
        >>> dense = Dense(3, input_shape=(4,))
        >>> dense.initialize(None)
        >>> dense.forward_pass(np.zeros((2, 4))).shape, dense.parameters()
        ((2, 3), 15)
    """

    def __init__(self, n_units: int, input_shape: tuple[int, ...] | None = None):
        self.n_units = integer("Dense", "n_units", n_units, 1)
        self.input_shape = input_shape
        self.layer_input: np.ndarray | None = None
        self.W: Any = None
        self.w0: Any = None

    def initialize(self, optimizer: Any) -> None:
        """Draw the weights and take a copy of the optimiser for each array; None leaves them as they are drawn.

        Raises:
            ValueError: the shape of the input is not known, or is not that of rows.
        """
        (inputs,) = self._shape(1, hint="; add Flatten() before it")
        limit = 1 / math.sqrt(inputs)
        drawn = np.random.uniform(-limit, limit, (inputs, self.n_units))  # noqa: NPY002
        self.W = drawn.astype(self.dtype, order="F")  # its transpose is what the product takes as it lies
        self.w0 = np.zeros((1, self.n_units), self.dtype)
        self.W_opt, self.w0_opt = copy.copy(optimizer), copy.copy(optimizer)

    def parameters(self) -> int:
        """The number of weights and biases."""
        return self.W.size + self.w0.size

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The product (N, OUT)."""
        self.layer_input, self._W_used = X, self.W
        return F.linear(X, self.W.T, self.w0[0])

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch; then the weights are updated."""
        X = self._went_forward(self.layer_input)
        learns = self.trainable and self.W_opt is not None
        grad_x, grad_w, grad_w0 = F.linear_backward(accum_grad, X, self._W_used.T, needs=(True, learns, learns))
        if learns:
            self.W = self.W_opt.update(self.W, grad_w.T)  # type: ignore[union-attr]
            self.w0 = self.w0_opt.update(self.w0, grad_w0[None])  # type: ignore[index]
        return grad_x  # type: ignore[return-value]

    def output_shape(self) -> tuple[int, ...]:
        """(OUT,)."""
        return (self.n_units,)


class Activation(Layer):
    """A function of every element, by its name.

    Example:
        >>> Activation("relu").forward_pass(np.array([[-1.0, 2.0]]))
        array([[0., 2.]])
    """

    def __init__(self, name: str):
        self.activation_name = one_of("Activation", "name", name, activation_functions)
        self.activation_func = activation_functions[name]()
        self.layer_input: np.ndarray | None = None

    def layer_name(self) -> str:
        """What the layer is called in a network's summary."""
        return f"Activation ({type(self.activation_func).__name__})"

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The function of every element."""
        self.layer_input = X
        return self.activation_func(X)

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch."""
        X = self._went_forward(self.layer_input)
        if type(self.activation_func) is ReLU and isinstance(X, np.ndarray) and X.dtype == accum_grad.dtype:
            return relu_gradient(accum_grad, X)  # the same numbers as times its derivative, without making that
        return accum_grad * self.activation_func.gradient(X)

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the input."""
        return self._shape()


class Dropout(Layer):
    """In training each element is 0 with probability p; in inference each is multiplied by 1 - p.

    Random numbers come from NumPy's global state, in the tutorial's order.
    """

    def __init__(self, p: float = 0.2):
        self.p = number("Dropout", "p", p, 0, 1)
        self._mask: Any = None

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """What is left of the batch."""
        if training:
            y, self._mask = dropped(X, self.p)
            return y
        self._mask = X.dtype.type(1 - self.p) if X.dtype.kind == "f" else 1 - self.p
        return X * self._mask

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch."""
        return masked(accum_grad, self._went_forward(self._mask))

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the input."""
        return self._shape()
