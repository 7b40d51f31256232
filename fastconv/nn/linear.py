"""The fully connected layer, and the one that flattens images for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._arguments.sizes import integer
from fastconv.errors import ShapeError
from fastconv.nn import init
from fastconv.nn.base import Backward, Layer, Parameter, array_of, gradient_of
from fastconv.nn.weighted import Weighted


class Linear(Weighted):
    """y = x @ weight.T + bias for a batch x (N, IN); see `fastconv.linear`.

    Args:
        in_features: IN.
        out_features: OUT.
        bias: whether a learnt number is added to each output; it starts at zero.
        initialiser: a function of `fastconv.nn.init` for the weights.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Example:
        >>> Linear(400, 10, rng=0)(np.zeros((2, 400), np.float32)).shape
        (2, 10)
    """

    function, gradient = F.linear, F.linear_backward

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, initialiser: Callable = init.he_uniform,
        rng: init.Rng = None, dtype: DTypeLike = np.float32,
    ):  # fmt: skip
        IN, OUT = integer("Linear", "in_features", in_features, 1), integer("Linear", "out_features", out_features, 1)
        self.weight = Parameter(initialiser((OUT, IN), rng, dtype), "weight")
        self.bias = Parameter(np.zeros(OUT, dtype), "bias") if bias else None

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, OUT)."""
        OUT, IN = self.weight.value.shape
        if input_shape[-1] != IN:
            raise ShapeError(f"Linear: takes {IN} inputs, got an input of shape {tuple(input_shape)}")
        if len(input_shape) > 2:
            raise ShapeError(f"Linear: takes inputs (N, {IN}) or ({IN},), got an input of shape {tuple(input_shape)}")
        return (*input_shape[:-1], OUT)

    def __repr__(self) -> str:
        OUT, IN = self.weight.value.shape
        return f"Linear({IN}, {OUT})"


class Flatten(Layer):
    """(N, C, H, W) to (N, C*H*W).

    Example:
        >>> Flatten()(np.zeros((2, 16, 5, 5))).shape
        (2, 400)
    """

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The flattened batch, a view where possible."""
        x = array_of(self, "x", x)
        return x.reshape(self.output_shape(x.shape))

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """the flattened batch, and its gradient."""
        y = self(x)
        shape, flat = x.shape, y.shape
        return y, lambda grad_y: gradient_of(self, grad_y, flat).reshape(shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, C*H*W)."""
        if not input_shape:
            raise ShapeError("Flatten: takes a batch, got an input without dimensions")
        return input_shape[0], math.prod(input_shape[1:])
