"""Activation layers: each is a function of `fastconv.functional` and its gradient, both in terms of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from fastconv import functional as F
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


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along the last axis.

    Example:
        >>> Softmax()(np.array([[1.0, 1.0]]))
        array([[0.5, 0.5]])
    """

    function, gradient = F.softmax, F.softmax_backward
