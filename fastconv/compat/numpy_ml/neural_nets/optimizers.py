"""Optimisers: called with a parameter, its gradient and its name, they give the new parameter."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np

from fastconv._arguments.scalars import number
from fastconv.errors import UnsupportedError


class OptimizerBase:
    """The base of the optimisers.

    Attributes:
        cache: what is kept for each parameter, by its name.
        cur_step: how often `step` was called.
        hyperparameters: the numbers, by name.
    """

    def __init__(self, lr_scheduler: Any, **numbers: float | None):
        kind = type(self).__name__
        if lr_scheduler is not None and not str(lr_scheduler).startswith("ConstantScheduler"):
            raise UnsupportedError(f"{kind}: lr_scheduler must be None, a constant rate, got {lr_scheduler!r}")
        for name, value in numbers.items():
            if value is not None:
                number(kind, name, value)
        self.cache: dict[str, Any] = {}
        self.cur_step = 0
        self.hyperparameters: dict[str, Any] = {"id": kind, **numbers}
        self.hyperparameters["lr_scheduler"] = f"ConstantScheduler(lr={numbers['lr']})"

    def __call__(
        self, param: np.ndarray, param_grad: np.ndarray, param_name: str, cur_loss: float | None = None
    ) -> np.ndarray:
        """The new parameter."""
        return self.update(param, param_grad, param_name, cur_loss)

    def update(
        self, param: np.ndarray, param_grad: np.ndarray, param_name: str, cur_loss: float | None = None
    ) -> np.ndarray:
        """The new parameter; a gradient longer than `clip_norm` is shortened to it."""
        longest = self.hyperparameters["clip_norm"]
        if longest is not None:
            length = np.linalg.norm(param_grad)
            if length > longest:
                param_grad = param_grad * (longest / length)
        return param - self._change(param_grad, param_name)

    def _change(self, grad: np.ndarray, name: str) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} does not define update(param, param_grad, param_name)")

    def step(self) -> None:
        """Count a step."""
        self.cur_step += 1

    def reset_step(self) -> None:
        """Count from 0."""
        self.cur_step = 0

    def copy(self) -> OptimizerBase:
        """Another one like this, with its own memory."""
        return copy.deepcopy(self)

    def set_params(self, hparam_dict: dict[str, Any] | None = None, cache_dict: dict[str, Any] | None = None) -> None:
        """Take numbers that it has, and what was kept, from a layer's summary."""
        self.hyperparameters.update({k: v for k, v in (hparam_dict or {}).items() if k in self.hyperparameters})
        self.cache.update(copy.deepcopy(cache_dict or {}))

    def __str__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items() if name != "id")
        return f"{type(self).__name__}({numbers})"


class SGD(OptimizerBase):
    """param - u, with u = momentum * u + lr * gradient.

    Example:
        >>> SGD(0.5)(np.ones(1), np.ones(1), "W")
        array([0.5])
    """

    def __init__(
        self, lr: float = 0.01, momentum: float = 0.0, clip_norm: float | None = None, lr_scheduler: Any = None
    ):
        super().__init__(lr_scheduler, lr=lr, momentum=momentum, clip_norm=clip_norm)

    def _change(self, grad: np.ndarray, name: str) -> np.ndarray:
        H = self.hyperparameters
        self.cache[name] = H["momentum"] * self.cache.get(name, 0.0) + H["lr"] * grad
        return self.cache[name]


class AdaGrad(OptimizerBase):
    """param - lr * gradient / (sqrt(c) + eps), with c the sum of squared gradients."""

    def __init__(self, lr: float = 0.01, eps: float = 1e-7, clip_norm: float | None = None, lr_scheduler: Any = None):
        super().__init__(lr_scheduler, lr=lr, eps=eps, clip_norm=clip_norm)

    def _change(self, grad: np.ndarray, name: str) -> np.ndarray:
        H = self.hyperparameters
        self.cache[name] = self.cache.get(name, 0.0) + np.square(grad)
        return H["lr"] * grad / (np.sqrt(self.cache[name]) + H["eps"])


class RMSProp(OptimizerBase):
    """As `AdaGrad`, with c a running mean."""

    def __init__(
        self, lr: float = 0.001, decay: float = 0.9, eps: float = 1e-7, clip_norm: float | None = None,
        lr_scheduler: Any = None,
    ):  # fmt: skip
        super().__init__(lr_scheduler, lr=lr, eps=eps, decay=decay, clip_norm=clip_norm)

    def _change(self, grad: np.ndarray, name: str) -> np.ndarray:
        H = self.hyperparameters
        self.cache[name] = H["decay"] * self.cache.get(name, 0.0) + (1 - H["decay"]) * np.square(grad)
        return H["lr"] * grad / (np.sqrt(self.cache[name]) + H["eps"])


class Adam(OptimizerBase):
    """Adam, by D. Kingma and J. Ba (2014), with eps beside the root."""

    def __init__(
        self, lr: float = 0.001, decay1: float = 0.9, decay2: float = 0.999, eps: float = 1e-7,
        clip_norm: float | None = None, lr_scheduler: Any = None,
    ):  # fmt: skip
        super().__init__(lr_scheduler, lr=lr, decay1=decay1, decay2=decay2, eps=eps, clip_norm=clip_norm)

    def _change(self, grad: np.ndarray, name: str) -> np.ndarray:
        H, kept = self.hyperparameters, self.cache.setdefault(name, {"t": 0, "mean": 0.0, "var": 0.0})
        kept["t"] += 1
        kept["mean"] = H["decay1"] * kept["mean"] + (1 - H["decay1"]) * grad
        kept["var"] = H["decay2"] * kept["var"] + (1 - H["decay2"]) * np.square(grad)
        mean, var = kept["mean"] / (1 - H["decay1"] ** kept["t"]), kept["var"] / (1 - H["decay2"] ** kept["t"])
        return H["lr"] * mean / (np.sqrt(var) + H["eps"])


_NAMES: dict[str, Any] = {"sgd": SGD, "adagrad": AdaGrad, "rmsprop": RMSProp, "adam": Adam}
_PAIR = re.compile(r"([a-z_0-9]+)=([^,()]+)")


def optimizer_of(where: str, optimizer: Any) -> OptimizerBase:
    """A layer's own optimiser: a copy of what is given, or by its text as `"RMSProp(lr=0.0001)"`; None is `SGD()`.

    Raises:
        ValueError: there is no such optimiser.
        TypeError: it is none of these.
    """
    if optimizer is None:
        return SGD()
    if isinstance(optimizer, OptimizerBase):
        return optimizer.copy()
    if isinstance(optimizer, dict) and optimizer.get("hyperparameters", {}).get("id", "").lower() in _NAMES:
        found = _NAMES[optimizer["hyperparameters"]["id"].lower()]()
        found.set_params(optimizer["hyperparameters"], optimizer.get("cache"))
        return found
    if not isinstance(optimizer, str):
        kind = type(optimizer).__name__
        raise TypeError(f"{where}: optimizer must be an optimiser, its text or summary, or None, got {kind}")
    name, _, rest = optimizer.lower().replace(" ", "").partition("(")
    if name not in _NAMES:
        raise ValueError(f"{where}: optimizer must be one of {', '.join(_NAMES)}, got {optimizer!r}")
    if "scheduler=" in rest and "scheduler=none" not in rest and "scheduler=constantscheduler" not in rest:
        raise UnsupportedError(f"{where}: optimizer {optimizer!r} has a schedule; a constant rate can be had")
    pairs = [(key, value) for key, value in _PAIR.findall(rest.partition("lr_scheduler=")[0])]
    try:
        return _NAMES[name](**{key: None if value == "none" else float(value) for key, value in pairs})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: optimizer {optimizer!r} has arguments that it does not take ({error})") from None
