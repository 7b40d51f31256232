"""Activations made of pieces: lines and exponentials that meet at 0."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F
from fastconv._arguments.scalars import number
from fastconv.compat.numpy_ml.neural_nets.activations.base import ActivationBase, floats


class ReLU(ActivationBase):
    """max(z, 0)."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.relu(floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, 0 at 0."""
        x = floats(x)
        return np.asarray(x > 0, x.dtype)

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(floats(x))


class LeakyReLU(ActivationBase):
    """z where z > 0, else alpha * z."""

    def __init__(self, alpha: float = 0.3):
        self.alpha = number("LeakyReLU", "alpha", alpha)

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.leaky_relu(floats(z), self.alpha)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, 1 at 0."""
        x = floats(x)
        return np.where(x < 0, x.dtype.type(self.alpha), x.dtype.type(1))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(floats(x))

    def __str__(self) -> str:
        return f"Leaky ReLU(alpha={self.alpha})"


class Affine(ActivationBase):
    """slope * z + intercept."""

    def __init__(self, slope: float = 1, intercept: float = 0):
        self.slope, self.intercept = slope, intercept
        for name in ("slope", "intercept"):
            number("Affine", name, getattr(self, name))

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return self.slope * floats(z) + self.intercept

    def grad(self, x: np.ndarray) -> np.ndarray:
        """The slope, for every element."""
        return self.slope * np.ones_like(floats(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(floats(x))

    def __str__(self) -> str:
        return f"Affine(slope={self.slope}, intercept={self.intercept})"


class Identity(Affine):
    """z itself."""

    def __init__(self) -> None:
        super().__init__(1, 0)

    def __str__(self) -> str:
        return "Identity"


class ELU(ActivationBase):
    """z where z > 0, else alpha * (exp(z) - 1)."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = number("ELU", "alpha", alpha)

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        z = floats(z)
        return np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0)))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, alpha at 0."""
        x = floats(x)
        return np.where(x > 0, x.dtype.type(1), self.alpha * np.exp(np.minimum(x, 0)))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative, 0 at 0."""
        x = floats(x)
        return np.where(x >= 0, x.dtype.type(0), self.alpha * np.exp(np.minimum(x, 0)))

    def __str__(self) -> str:
        return f"ELU(alpha={self.alpha})"


class SELU(ActivationBase):
    """scale * z where z > 0, else scale * alpha * (exp(z) - 1), with the numbers that keep mean 0 and variance 1."""

    def __init__(self) -> None:
        self.alpha = 1.6732632423543772848170429916717
        self.scale = 1.0507009873554804934193349852946
        self.elu = ELU(self.alpha)

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return self.scale * self.elu.fn(z)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, `scale` at 0."""
        x = floats(x)
        return np.where(x >= 0, x.dtype.type(self.scale), self.scale * self.elu.grad(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        x = floats(x)
        return np.where(x > 0, x.dtype.type(0), self.scale * self.alpha * np.exp(np.minimum(x, 0)))


class HardSigmoid(ActivationBase):
    """0.2 * z + 0.5, limited to 0..1."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return np.clip(0.2 * floats(z) + 0.5, 0.0, 1.0)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """0.2 from -2.5 to 2.5, else 0."""
        x = floats(x)
        return np.where(np.abs(x) <= 2.5, x.dtype.type(0.2), x.dtype.type(0))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(floats(x))

    def __str__(self) -> str:
        return "Hard Sigmoid"
