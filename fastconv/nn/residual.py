"""The residual connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.errors import ShapeError
from fastconv.nn.base import Backward, Layer, array_of, gradient_of
from fastconv.nn.naming import prefix


class Residual(Layer):
    """body(x) + x, or body(x) + shortcut(x) where the body changes the shape.

    Args:
        body: any layer.
        shortcut: a layer whose result has the body's shape, as a 1x1 convolution of the same stride; None for x itself.

    Example:
        >>> from fastconv.nn import Conv2d, ReLU, Sequential
        >>> body = Sequential(Conv2d(8, 8, 3, padding=1, rng=0), ReLU(), Conv2d(8, 8, 3, padding=1, rng=0))
        >>> Residual(body)(np.zeros((2, 8, 6, 6), np.float32)).shape
        (2, 8, 6, 6)

    Source: K. He et al., Deep residual learning for image recognition (2015), section 3.2.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None):
        for name, layer in (("body", body), ("shortcut", shortcut)):
            if not (isinstance(layer, Layer) or (layer is None and name == "shortcut")):
                raise TypeError(f"Residual: {name} must be a Layer, got {type(layer).__name__}")
        self.body, self.shortcut = body, shortcut

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The sum for a batch."""
        return summed(*self.branches(x))

    def branches(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is summed for a batch: the results of the body and of the shortcut."""
        x = array_of(self, "x", x)
        y = _inside("body", self.body, self.body, x)
        side = x if self.shortcut is None else _inside("shortcut", self.shortcut, self.shortcut, x)
        _check(y.shape, side.shape)  # NumPy would broadcast
        return y, side

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The sum for a batch, and its gradient."""
        x = array_of(self, "x", x)
        y, through_body = _inside("body", self.body, self.body.forward, x)
        side, through_shortcut = (x, _same)
        if self.shortcut is not None:
            side, through_shortcut = _inside("shortcut", self.shortcut, self.shortcut.forward, x)

        def backward(grad_y: np.ndarray) -> np.ndarray:
            grad_y = gradient_of(self, grad_y, side.shape)
            return summed(through_body(grad_y), through_shortcut(grad_y))

        _check(y.shape, side.shape)  # NumPy would broadcast
        return summed(y, side), backward

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the body's result."""
        shape = tuple(self.body.output_shape(input_shape))
        side = tuple(input_shape if self.shortcut is None else self.shortcut.output_shape(input_shape))
        _check(shape, side)
        return shape

    def __repr__(self) -> str:
        return f"Residual({self.body!r}, {self.shortcut!r})"


def _inside(name: str, layer: Layer, run: Callable[[np.ndarray], Any], x: np.ndarray) -> Any:
    """What a branch gives for x; its errors say which one it was."""
    try:
        return run(x)
    except Exception as error:
        kind = type(layer).__name__
        prefix(error, f"Residual: {name}, {kind}", kind)
        raise


def summed(y: np.ndarray, side: np.ndarray) -> np.ndarray:
    """y + side, of one shape."""
    return np.asarray(y + side)  # a sum without dimensions is no array


def _same(grad_y: np.ndarray) -> np.ndarray:
    return grad_y


def _check(body: tuple[int, ...], shortcut: tuple[int, ...]) -> None:
    if body != shortcut:
        raise ShapeError(f"Residual: the shortcut's result must have the body's shape {body}, got {shortcut}")
