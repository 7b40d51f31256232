"""How a layer's weights are drawn, chosen by a name and by its activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._arguments.names import one_of
from fastconv.compat.numpy_ml.neural_nets.activations import LeakyReLU, ReLU, Tanh, activation_of
from fastconv.compat.numpy_ml.neural_nets.utils.weights import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    truncated_normal,
)

_MODES: dict[str, Callable[[tuple[int, ...], float], np.ndarray]] = {
    "he_normal": lambda shape, _: he_normal(shape),
    "he_uniform": lambda shape, _: he_uniform(shape),
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "std_normal": lambda shape, _: np.random.randn(*shape),  # noqa: NPY002
    "trunc_normal": lambda shape, _: truncated_normal(0, 1, shape),
}


class WeightInitializer:
    """Draws weights of a shape; Glorot's are scaled by the gain of the activation.

    Args:
        act_fn_str: the activation, or its text.
        mode: `"he_normal"`, `"he_uniform"`, `"glorot_normal"`, `"glorot_uniform"`, `"std_normal"` or `"trunc_normal"`.

    Example:
        >>> WeightInitializer("ReLU", "he_normal")((3, 3, 2, 8)).shape
        (3, 3, 2, 8)
    """

    def __init__(self, act_fn_str: Any, mode: str = "glorot_uniform"):
        self.mode = one_of("WeightInitializer", "mode", mode, _MODES)
        self.act_fn = activation_of("WeightInitializer", act_fn_str)

    def __call__(self, weight_shape: tuple[int, ...]) -> np.ndarray:
        """The weights."""
        return _MODES[self.mode](weight_shape, self._gain())

    def _gain(self) -> float:
        """How much an activation shrinks: K. He and others (2015); of leaky ReLU sqrt(2 / (1 + alpha**2))."""
        if isinstance(self.act_fn, Tanh):
            return 5 / 3
        if isinstance(self.act_fn, ReLU):
            return math.sqrt(2)
        return math.sqrt(2 / (1 + self.act_fn.alpha**2)) if isinstance(self.act_fn, LeakyReLU) else 1.0
