"""Activations: called with an array, with their first and second derivatives `grad` and `grad2` at the argument."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.scalars import number, switch


def _floats(x: Any) -> np.ndarray:
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


class ActivationBase:
    """The base of the activations; one of your own defines `fn`, `grad`, and `grad2` if it is used."""

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """The function of every element; a vector is a single row."""
        z = _floats(z)
        return self.fn(z.reshape(1, -1) if z.ndim == 1 else z)

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        raise NotImplementedError(f"{type(self).__name__} does not define fn(z)")

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        raise NotImplementedError(f"{type(self).__name__} does not define grad(x)")

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        raise NotImplementedError(f"{type(self).__name__} does not define grad2(x)")

    def __str__(self) -> str:
        return type(self).__name__


class Sigmoid(ActivationBase):
    """1 / (1 + exp(-z)), without overflow.

    Example:
        >>> print(Sigmoid(), Sigmoid()(np.array([[0.0]])), Sigmoid().grad(np.array([[0.0]])))
        Sigmoid [[0.5]] [[0.25]]
    """

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.sigmoid(_floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        y = self.fn(x)
        return y * (1 - y)

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        y = self.fn(x)
        return y * (1 - y) * (1 - 2 * y)


class ReLU(ActivationBase):
    """max(z, 0)."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.relu(_floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, 0 at 0."""
        x = _floats(x)
        return np.asarray(x > 0, x.dtype)

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(_floats(x))


class LeakyReLU(ActivationBase):
    """z where z > 0, else alpha * z."""

    def __init__(self, alpha: float = 0.3):
        self.alpha = number("LeakyReLU", "alpha", alpha)

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.leaky_relu(_floats(z), self.alpha)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, 1 at 0."""
        x = _floats(x)
        return np.where(x < 0, x.dtype.type(self.alpha), x.dtype.type(1))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(_floats(x))

    def __str__(self) -> str:
        return f"Leaky ReLU(alpha={self.alpha})"


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
        x = _floats(x)
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


class Tanh(ActivationBase):
    """The hyperbolic tangent."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return F.tanh(_floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        return 1 - np.square(self.fn(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        y = self.fn(x)
        return -2 * y * (1 - np.square(y))


class Affine(ActivationBase):
    """slope * z + intercept."""

    def __init__(self, slope: float = 1, intercept: float = 0):
        self.slope, self.intercept = slope, intercept
        for name in ("slope", "intercept"):
            number("Affine", name, getattr(self, name))

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return self.slope * _floats(z) + self.intercept

    def grad(self, x: np.ndarray) -> np.ndarray:
        """The slope, for every element."""
        return self.slope * np.ones_like(_floats(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(_floats(x))

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
        z = _floats(z)
        return np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0)))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, alpha at 0."""
        x = _floats(x)
        return np.where(x > 0, x.dtype.type(1), self.alpha * np.exp(np.minimum(x, 0)))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative, 0 at 0."""
        x = _floats(x)
        return np.where(x >= 0, x.dtype.type(0), self.alpha * np.exp(np.minimum(x, 0)))

    def __str__(self) -> str:
        return f"ELU(alpha={self.alpha})"


class Exponential(ActivationBase):
    """exp(z)."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return np.exp(_floats(z))

    def grad(self, x: np.ndarray) -> np.ndarray:
        """The same."""
        return self.fn(x)

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """The same."""
        return self.fn(x)


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
        x = _floats(x)
        return np.where(x >= 0, x.dtype.type(self.scale), self.scale * self.elu.grad(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        x = _floats(x)
        return np.where(x > 0, x.dtype.type(0), self.scale * self.alpha * np.exp(np.minimum(x, 0)))


class HardSigmoid(ActivationBase):
    """0.2 * z + 0.5, limited to 0..1."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        return np.clip(0.2 * _floats(z) + 0.5, 0.0, 1.0)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """0.2 from -2.5 to 2.5, else 0."""
        x = _floats(x)
        return np.where(np.abs(x) <= 2.5, x.dtype.type(0.2), x.dtype.type(0))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Zeros."""
        return np.zeros_like(_floats(x))

    def __str__(self) -> str:
        return "Hard Sigmoid"


class SoftPlus(ActivationBase):
    """log(1 + exp(z)), without overflow."""

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        z = _floats(z)
        return np.logaddexp(z.dtype.type(0), z)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, the sigmoid."""
        return F.sigmoid(_floats(x))

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        return Sigmoid().grad(x)


_NAMES: dict[str, Any] = {
    "relu": ReLU, "tanh": Tanh, "selu": SELU, "sigmoid": Sigmoid, "identity": Identity, "hardsigmoid": HardSigmoid,
    "softplus": SoftPlus, "exponential": Exponential, "affine": Affine, "leakyrelu": LeakyReLU, "gelu": GELU,
    "elu": ELU,
}  # fmt: skip
_CALL = re.compile(r"([a-z]+)(?:\((.*)\))?")
_VALUES = {"true": True, "false": False}


def activation_of(where: str, act_fn: Any) -> ActivationBase:
    """An activation as it is given, by its text as `"Leaky ReLU(alpha=0.3)"`, or None for none.

    Raises:
        ValueError: there is no such activation.
        TypeError: it is neither.
    """
    if act_fn is None:
        return Identity()
    if isinstance(act_fn, ActivationBase):
        return act_fn
    if not isinstance(act_fn, str):
        raise TypeError(f"{where}: act_fn must be an activation, its name or None, got {type(act_fn).__name__}")
    found = _CALL.fullmatch(act_fn.lower().replace(" ", ""))
    if not found or found[1] not in _NAMES:
        raise ValueError(f"{where}: act_fn must be one of {', '.join(_NAMES)}, got {act_fn!r}")
    try:
        pairs = [part.split("=") for part in (found[2] or "").split(",") if part]
        return _NAMES[found[1]](**{name: _VALUES[v] if v in _VALUES else float(v) for name, v in pairs})
    except (ValueError, TypeError):
        raise ValueError(f"{where}: act_fn {act_fn!r} has arguments that it does not take") from None
