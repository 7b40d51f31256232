"""Optimisers: `update(params, grads)` changes every array of the dictionary `params` in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv._arguments.scalars import number
from fastconv.compat.steps import stepped
from fastconv.kernels import updates

Arrays = dict[str, np.ndarray]


class _Optimizer:
    """What all share: the arrays that are kept for each parameter, zeros before the first step."""

    kept: tuple[str, ...] = ()

    def __init__(self, **numbers: float):
        for name, value in numbers.items():
            setattr(self, name, number(type(self).__name__, name, value))
        for name in self.kept:
            setattr(self, name, None)

    def update(self, params: Arrays, grads: Mapping[str, np.ndarray]) -> None:
        """Take a step.

        Raises:
            ValueError: a parameter has no gradient.
        """
        missing = [key for key in params if key not in grads]
        if missing:
            raise ValueError(f"{type(self).__name__}: grads has no {', '.join(missing)}")
        for name in self.kept:
            if getattr(self, name) is None:
                setattr(self, name, {key: np.zeros_like(value) for key, value in params.items()})
        self._begin()
        if not self._together(params, grads):
            for key in params:
                self._step(params, grads[key], key)

    def _begin(self) -> None:
        """Before the first parameter's step."""

    def _together(self, params: Arrays, grads: Mapping[str, np.ndarray]) -> bool:
        """Take all steps in one call, if this optimiser has a kernel and the arrays are fit for it."""
        return False

    def _step(self, params: Arrays, grad: np.ndarray, key: str) -> None:
        raise NotImplementedError


class SGD(_Optimizer):
    """param -= lr * grad.

    Example:
        >>> params = {"W": np.ones(2)}
        >>> SGD(0.5).update(params, {"W": np.ones(2)})
        >>> params["W"]
        array([0.5, 0.5])
    """

    lr: float

    def __init__(self, lr: float = 0.01):
        super().__init__(lr=lr)

    def _step(self, params: Arrays, grad: np.ndarray, key: str) -> None:
        params[key] -= self.lr * grad


class Momentum(_Optimizer):
    """v = momentum * v - lr * grad, param += v."""

    kept = ("v",)
    lr: float
    momentum: float
    v: Any

    def __init__(self, lr: float = 0.01, momentum: float = 0.9):
        super().__init__(lr=lr, momentum=momentum)

    def _step(self, params: Arrays, grad: np.ndarray, key: str) -> None:
        self.v[key] = self.momentum * self.v[key] - self.lr * grad
        params[key] += self.v[key]


class Nesterov(Momentum):
    """Momentum with the gradient that comes after the next step, by Y. Nesterov."""

    def _step(self, params: Arrays, grad: np.ndarray, key: str) -> None:
        v = self.v[key]
        params[key] += self.momentum * self.momentum * v
        params[key] -= (1 + self.momentum) * self.lr * grad
        v *= self.momentum
        v -= self.lr * grad


class AdaGrad(_Optimizer):
    """param -= lr * grad / (sqrt(h) + 1e-7), with h the sum of squared gradients."""

    kept = ("h",)
    lr: float
    h: Any

    def __init__(self, lr: float = 0.01):
        super().__init__(lr=lr)

    def _step(self, params: Arrays, grad: np.ndarray, key: str) -> None:
        self.h[key] += grad * grad
        params[key] -= self.lr * grad / (np.sqrt(self.h[key]) + 1e-7)


class RMSprop(_Optimizer):
    """As `AdaGrad`, with h a running mean."""

    kept = ("h",)
    lr: float
    decay_rate: float
    h: Any

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99):
        super().__init__(lr=lr, decay_rate=decay_rate)

    def _step(self, params: Arrays, grad: np.ndarray, key: str) -> None:
        self.h[key] *= self.decay_rate
        self.h[key] += (1 - self.decay_rate) * grad * grad
        params[key] -= self.lr * grad / (np.sqrt(self.h[key]) + 1e-7)


class Adam(_Optimizer):
    """Adam, with its bias corrected in the learning rate and 1e-7 beside the root.

    Source: D. Kingma and J. Ba, Adam: a method for stochastic optimization (2014).
    """

    kept = ("m", "v")
    lr: float
    beta1: float
    beta2: float
    m: Any
    v: Any

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999):
        super().__init__(lr=lr, beta1=beta1, beta2=beta2)
        self.iter = 0

    def _begin(self) -> None:
        self.iter += 1
        self._lr = self.lr * np.sqrt(1 - self.beta2**self.iter) / (1 - self.beta1**self.iter)

    def _together(self, params: Arrays, grads: Mapping[str, np.ndarray]) -> bool:
        if type(self) is not Adam:  # one of a reader's own may have another step
            return False
        b1, b2, lr = self.beta1, self.beta2, float(self._lr)
        arrays = ([kept[key] for key in params] for kept in (params, grads, self.m, self.v))
        return stepped(updates.ADAM, (lr, b1, b2, 1e-7, 0, 1, 1, 1 - b1, 1 - b2, 1), *arrays)

    def _step(self, params: Arrays, grad: np.ndarray, key: str) -> None:
        m, v = self.m[key], self.v[key]
        change = grad - m
        change *= 1 - self.beta1
        m += change
        np.square(grad, change)
        change -= v
        change *= 1 - self.beta2
        v += change
        root = np.sqrt(v, change)
        root += 1e-7
        step = float(self._lr) * m
        step /= root
        params[key] -= step
