"""Optimisers: `update(weights, gradient)` gives the new weights. Each array has one of its own, with its state.

They are the tutorial's to the number: its momentum weighs the gradient with 1 - momentum, its Adam corrects the bias by
the same factor in every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._arguments.scalars import number
from fastconv.compat.steps import stepped
from fastconv.kernels import updates


class StochasticGradientDescent:
    """w - learning_rate * u, with u = momentum * u + (1 - momentum) * gradient.

    Example:
        >>> StochasticGradientDescent(0.5).update(np.array([1.0]), np.array([4.0]))
        array([-1.])
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0):
        self.learning_rate = number("StochasticGradientDescent", "learning_rate", learning_rate)
        self.momentum = number("StochasticGradientDescent", "momentum", momentum)
        self.w_updt: Any = None

    def update(self, w: np.ndarray, grad_wrt_w: np.ndarray) -> np.ndarray:
        """The new weights."""
        if self.w_updt is None:
            self.w_updt = np.zeros_like(w)
        self.w_updt = self.momentum * self.w_updt + (1 - self.momentum) * grad_wrt_w
        return w - self.learning_rate * self.w_updt


class NesterovAcceleratedGradient:
    """w - u, with u = momentum * u + learning_rate * gradient at w - momentum * u, limited to -1..1.

    It needs the gradient as a function, which no layer gives it. In the tutorial it crashes in its first step.

    Example:
        >>> NesterovAcceleratedGradient(0.5).update(np.array([1.0]), lambda w: 0.5 * w)
        array([0.75])
    """

    def __init__(self, learning_rate: float = 0.001, momentum: float = 0.4):
        self.learning_rate = number("NesterovAcceleratedGradient", "learning_rate", learning_rate)
        self.momentum = number("NesterovAcceleratedGradient", "momentum", momentum)
        self.w_updt: Any = None

    def update(self, w: np.ndarray, grad_func: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The new weights.

        Raises:
            TypeError: grad_func is not a function.
        """
        if not callable(grad_func):
            raise TypeError(
                "NesterovAcceleratedGradient: grad_func must be a function of the weights, got "
                f"{type(grad_func).__name__}; layers need an optimiser that takes gradients"
            )
        if self.w_updt is None:
            self.w_updt = np.zeros_like(w)
        ahead = np.clip(grad_func(w - self.momentum * self.w_updt), -1, 1)
        self.w_updt = self.momentum * self.w_updt + self.learning_rate * ahead
        return w - self.w_updt


class Adagrad:
    """w - learning_rate * gradient / sqrt(sum of squared gradients + 1e-8)."""

    def __init__(self, learning_rate: float = 0.01):
        self.learning_rate = number("Adagrad", "learning_rate", learning_rate)
        self.G: Any = None
        self.eps = 1e-8

    def update(self, w: np.ndarray, grad_wrt_w: np.ndarray) -> np.ndarray:
        """The new weights."""
        if self.G is None:
            self.G = np.zeros_like(w)
        self.G = self.G + np.square(grad_wrt_w)
        return w - self.learning_rate * grad_wrt_w / np.sqrt(self.G + self.eps)


class Adadelta:
    """Steps as long as the root of the mean square of the last ones, by that of the last gradients.

    Source: M. Zeiler, ADADELTA (2012).
    """

    def __init__(self, rho: float = 0.95, eps: float = 1e-6):
        self.rho, self.eps = number("Adadelta", "rho", rho), number("Adadelta", "eps", eps)
        self.E_w_updt: Any = None
        self.E_grad: Any = None
        self.w_updt: Any = None

    def update(self, w: np.ndarray, grad_wrt_w: np.ndarray) -> np.ndarray:
        """The new weights."""
        if self.w_updt is None:
            self.w_updt, self.E_w_updt, self.E_grad = (np.zeros_like(w) for _ in range(3))
        self.E_grad = self.rho * self.E_grad + (1 - self.rho) * np.square(grad_wrt_w)
        rate = np.sqrt(self.E_w_updt + self.eps) / np.sqrt(self.E_grad + self.eps)
        self.w_updt = rate * grad_wrt_w
        self.E_w_updt = self.rho * self.E_w_updt + (1 - self.rho) * np.square(self.w_updt)
        return w - self.w_updt


class RMSprop:
    """w - learning_rate * gradient / sqrt(running mean of squared gradients + 1e-8)."""

    def __init__(self, learning_rate: float = 0.01, rho: float = 0.9):
        self.learning_rate = number("RMSprop", "learning_rate", learning_rate)
        self.rho = number("RMSprop", "rho", rho)
        self.Eg: Any = None
        self.eps = 1e-8

    def update(self, w: np.ndarray, grad_wrt_w: np.ndarray) -> np.ndarray:
        """The new weights."""
        if self.Eg is None:
            self.Eg = np.zeros_like(w)
        self.Eg = self.rho * self.Eg + (1 - self.rho) * np.square(grad_wrt_w)
        return w - self.learning_rate * grad_wrt_w / np.sqrt(self.Eg + self.eps)


class Adam:
    """w - learning_rate * m' / (sqrt(v') + 1e-8), with m' = m / (1 - b1) and v' = v / (1 - b2) in every step.

    Adam (D. Kingma and J. Ba, 2014) divides by 1 - b1**t in step t: its steps are shorter after the first.

    Example:
        >>> Adam(0.5).update(np.array([1.0]), np.array([4.0])).round(6)
        array([0.5])
    """

    def __init__(self, learning_rate: float = 0.001, b1: float = 0.9, b2: float = 0.999):
        self.learning_rate = number("Adam", "learning_rate", learning_rate)
        self.b1, self.b2 = number("Adam", "b1", b1, 0, below=1), number("Adam", "b2", b2, 0, below=1)
        self.eps = 1e-8
        self.m: Any = None
        self.v: Any = None

    def update(self, w: np.ndarray, grad_wrt_w: np.ndarray) -> np.ndarray:
        """The new weights."""
        if self.m is None:
            self.m, self.v = np.zeros_like(w), np.zeros_like(w)
        b1, b2, new = self.b1, self.b2, np.array(w, order="K")
        root = math.sqrt(1 - b2)  # both corrections are in the rate and in eps: no division by them is left
        rate, eps = self.learning_rate * root / (1 - b1), self.eps * root
        numbers = (rate, b1, b2, eps, 0, 1, 1, 1 - b1, 1 - b2, 1)
        if stepped(updates.ADAM, numbers, [new], [grad_wrt_w], [self.m], [self.v]):
            return new
        self.m = b1 * self.m + (1 - b1) * grad_wrt_w
        self.v = b2 * self.v + (1 - b2) * np.square(grad_wrt_w)
        return w - self.w_updt

    @property
    def w_updt(self) -> Any:
        """The last step, computed when it is read; None before the first."""
        if self.m is None:
            return None
        return self.learning_rate * (self.m / (1 - self.b1)) / (np.sqrt(self.v / (1 - self.b2)) + self.eps)
