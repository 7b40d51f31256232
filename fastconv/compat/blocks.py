"""Layers of `fastconv.nn` that hold a tutorial's arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv._arguments.sizes import Int2, Padding
from fastconv.nn import Backward, Conv2d, Layer, Linear, Parameter


def convolution(W: np.ndarray, b: np.ndarray | None, stride: Int2, padding: Padding, dilation: Int2 = 1) -> Conv2d:
    """A layer with the kernels W (F, C, KH, KW); W is shared where it lies in that order in memory."""
    F, C, KH, KW = W.shape
    layer = Conv2d(
        C, F, (KH, KW), stride, padding, dilation, bias=b is not None, initialiser=lambda *_: W, dtype=W.dtype
    )
    if b is not None:
        layer.bias = Parameter(b, "bias")
    return layer


def product(W: np.ndarray, b: np.ndarray | None) -> Linear:
    """A layer with the weights W (IN, OUT); W is shared where its transpose lies in order in memory."""
    IN, OUT = W.shape
    layer = Linear(IN, OUT, bias=b is not None, initialiser=lambda *_: W.T, dtype=W.dtype)
    if b is not None:
        layer.bias = Parameter(b, "bias")
    return layer


class Passed(Layer):
    """A tutorial's layer without weights of its own, as it is.

    Args:
        name: what it is called.
        inference: its result for a batch.
        training: its result for a batch in training.
        gradient: the gradient of the batch that went through training last.
    """

    def __init__(
        self, name: str, inference: Callable[[np.ndarray], np.ndarray], training: Callable[[np.ndarray], np.ndarray],
        gradient: Callable[[np.ndarray], np.ndarray],
    ):  # fmt: skip
        self.name, self._inference, self._training, self._gradient = name, inference, training, gradient

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The result for a batch."""
        return self._inference(x)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The result in training, and its gradient."""
        return self._training(x), self._gradient

    def __repr__(self) -> str:
        return f"Passed({self.name})"
