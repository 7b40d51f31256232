"""Activation layers: each is a function of `fastconv.functional` and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from fastconv import functional as F
from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer
from fastconv.nn.base import Backward, Layer


class _Activation(Layer):
    function: ClassVar[Callable]
    gradient: ClassVar[Callable]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function of every element."""
        return type(self).function(x)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The function of every element, and its gradient."""
        y = type(self).function(x)
        return y, lambda grad_y: type(self).gradient(grad_y, y)


class ReLU(_Activation):
    """max(x, 0).

    Example:
        >>> ReLU()(np.array([-1.0, 2.0]))
        array([0., 2.])
    """

    function, gradient = F.relu, F.relu_backward


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)).

    Example:
        >>> Sigmoid()(np.array([0.0]))
        array([0.5])
    """

    function, gradient = F.sigmoid, F.sigmoid_backward


class Tanh(_Activation):
    """The hyperbolic tangent.

    Example:
        >>> Tanh()(np.array([0.0]))
        array([0.])
    """

    function, gradient = F.tanh, F.tanh_backward


class ReLU6(_Activation):
    """min(max(x, 0), 6).

    Example:
        >>> ReLU6()(np.array([-1.0, 2.0, 7.0]))
        array([0., 2., 6.])
    """

    function, gradient = F.relu6, F.relu6_backward


class LeakyReLU(Layer):
    """x where x > 0, else negative_slope * x.

    Example:
        >>> LeakyReLU(0.25)(np.array([-1.0, 2.0]))
        array([-0.25,  2.  ])
    """

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function of every element."""
        return F.leaky_relu(x, self.negative_slope)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The function of every element, and its gradient."""
        return self(x), lambda grad_y: F.leaky_relu_backward(grad_y, x, self.negative_slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.negative_slope})"


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along an axis.

    Example:
        >>> Softmax()(np.array([[1.0, 1.0]]))
        array([[0.5, 0.5]])
    """

    def __init__(self, axis: int = -1):
        self.axis = integer("Softmax", "axis", axis, -8)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The shares along the axis."""
        return F.softmax(x, self.axis)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The shares along the axis, and their gradient."""
        y = self(x)
        return y, lambda grad_y: F.softmax_backward(grad_y, y, self.axis)

    def __repr__(self) -> str:
        return f"Softmax({self.axis})"
