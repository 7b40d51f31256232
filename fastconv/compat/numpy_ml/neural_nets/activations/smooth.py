"""Activations that are smooth everywhere."""

from __future__ import annotations

import math

import numpy as np

from fastconv import functional as F
from fastconv._arguments.scalars import switch
from fastconv.compat.numpy_ml.neural_nets.activations.base import ActivationBase, floats


class Sigmoid(ActivationBase):
    """1 / (1 + exp(-z)), without overflow.

    Example:
        >>> print(Sigmoid(), Sigmoid()(np.array([[0.0]])), Sigmoid().grad(np.array([[0.0]])))
        Sigmoid [[0.5]] [[0.25]]
    """

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.sigmoid(floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        y = self.fn(x)
        return y * (1 - y)

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        y = self.fn(x)
        return y * (1 - y) * (1 - 2 * y)


class Tanh(ActivationBase):
    """The hyperbolic tangent."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.tanh(floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        return 1 - np.square(self.fn(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        y = self.fn(x)
        return -2 * y * (1 - np.square(y))


class Exponential(ActivationBase):
    """exp(z)."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return np.exp(floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """The same."""
        return self.fn(x)

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """The same."""
        return self.fn(x)


class SoftPlus(ActivationBase):
    """log(1 + exp(z)), without overflow."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        z = floats(z)
        return np.logaddexp(z.dtype.type(0), z)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, the sigmoid."""
        return F.sigmoid(floats(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        return Sigmoid().grad(x)


_ERF = np.vectorize(math.erf, otypes=[np.float64])
_ROOT, _CUBE = math.sqrt(2 / math.pi), 0.044715


class GELU(ActivationBase):
    """z times the probability that a normal number is below z; or, `approximate`, its formula with tanh.

    Both derivatives are those of the function that was chosen.

    Source: D. Hendrycks and K. Gimpel, Gaussian error linear units (2016).
    """

    def __init__(self, approximate: bool = True):
        self.approximate = switch("GELU", "approximate", approximate)

    def _parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x, the probability p, and its two derivatives."""
        x = floats(x)
        if self.approximate:
            tanh = np.tanh(_ROOT * (x + _CUBE * x**3))
            slope = _ROOT * (1 + 3 * _CUBE * x**2)
            bend = (1 - tanh**2) * (_ROOT * 6 * _CUBE * x - 2 * tanh * slope**2)
            return x, (1 + tanh) / 2, (1 - tanh**2) * slope / 2, bend / 2
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        return x, ((1 + _ERF(x / math.sqrt(2))) / 2).astype(x.dtype), density, -x * density

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        x, p, _, _ = self._parts(z)
        return x * p

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        x, p, slope, _ = self._parts(x)
        return p + x * slope

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        x, _, slope, bend = self._parts(x)
        return 2 * slope + x * bend

    def __str__(self) -> str:
        return f"GELU(approximate={self.approximate})"
