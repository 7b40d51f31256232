"""Activations by their texts."""

from __future__ import annotations

import re
from typing import Any

from fastconv.compat.numpy_ml.neural_nets.activations.base import ActivationBase
from fastconv.compat.numpy_ml.neural_nets.activations.pieces import (
    ELU,
    SELU,
    Affine,
    HardSigmoid,
    Identity,
    LeakyReLU,
    ReLU,
)
from fastconv.compat.numpy_ml.neural_nets.activations.smooth import GELU, Exponential, Sigmoid, SoftPlus, Tanh

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
