"""Activation functions, called with an array, and their derivatives by element, at the argument x."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.scalars import number


def _floats(x: Any) -> np.ndarray:
    """x as an array; integers as float64, as NumPy makes them."""
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


class Sigmoid:
    """1 / (1 + exp(-x)), without overflow.

    Example:
        >>> Sigmoid()(np.array([0.0])), Sigmoid().gradient(np.array([0.0]))
        (array([0.5]), array([0.25]))
    """

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function."""
        return F.sigmoid(_floats(x))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        y = self(x)
        return y * (1 - y)


class Softmax:
    """exp(x) / sum(exp(x)) along the last axis."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function."""
        return F.softmax(_floats(x))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """The diagonal of its Jacobian alone: times the gradient of `CrossEntropy` it is softmax(x) - y."""
        y = self(x)
        return y * (1 - y)


class TanH:
    """The hyperbolic tangent."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function."""
        return F.tanh(_floats(x))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        y = self(x)
        return 1 - y * y


class ReLU:
    """max(x, 0); its derivative at 0 is 1, as in the tutorial.

    Example:
        >>> ReLU()(np.array([-1.0, 0.0, 2.0])), ReLU().gradient(np.array([-1.0, 0.0, 2.0]))
        (array([0., 0., 2.]), array([0., 1., 1.]))
    """

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function; NaN stays NaN."""
        return F.relu(_floats(x))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        x = _floats(x)
        return np.asarray(x >= 0, x.dtype)


class LeakyReLU:
    """x where x >= 0, else alpha * x."""

    def __init__(self, alpha: float = 0.2):
        self.alpha = number("LeakyReLU", "alpha", alpha)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function."""
        return F.leaky_relu(_floats(x), self.alpha)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, 1 at 0."""
        x = _floats(x)
        return np.where(x >= 0, x.dtype.type(1), x.dtype.type(self.alpha))


class ELU:
    """x where x >= 0, else alpha * (exp(x) - 1).

    Example:
        >>> ELU(1.0)(np.array([-1.0, 2.0])).round(4)
        array([-0.6321,  2.    ])
    """

    def __init__(self, alpha: float = 0.1):
        self.alpha = number("ELU", "alpha", alpha)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function."""
        x = _floats(x)
        return np.where(x >= 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, 1 at 0."""
        x = _floats(x)
        return np.where(x >= 0, x.dtype.type(1), self.alpha * np.exp(np.minimum(x, 0)))


class SELU:
    """scale * x where x >= 0, else scale * alpha * (exp(x) - 1), with the two numbers that keep mean 0 and variance 1.

    Source: G. Klambauer and others, Self-normalizing neural networks (2017).
    """

    def __init__(self) -> None:
        self.alpha = 1.6732632423543772848170429916717
        self.scale = 1.0507009873554804934193349852946

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function."""
        return self.scale * ELU(self.alpha)(x)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, `scale` at 0."""
        return self.scale * ELU(self.alpha).gradient(x)


class SoftPlus:
    """log(1 + exp(x)), without overflow."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function."""
        x = _floats(x)
        return np.logaddexp(x.dtype.type(0), x)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, the sigmoid."""
        return F.sigmoid(_floats(x))
