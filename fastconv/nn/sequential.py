"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import overload

import numpy as np

from fastconv.nn.base import Backward, Layer, Parameter
from fastconv.nn.conv import Conv2d


class Sequential(Layer):
    """Layers applied one after another; indexing gives a layer, slicing another Sequential of the same layers.

    Args:
        layers: any objects with `forward(x)` that returns (y, backward), derived from `Layer`.

    Example:
        >>> from fastconv.nn import Flatten, Linear
        >>> model = Sequential(Flatten(), Linear(4, 2, rng=0))
        >>> model(np.zeros((3, 1, 2, 2), np.float32)).shape, len(model)
        ((3, 2), 2)
    """

    def __init__(self, *layers: Layer):
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: layer {i} must be a Layer, got {type(layer).__name__}")
        self.layers = layers

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The last layer's result."""
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The last layer's result, and the function that carries a gradient back through all layers."""
        backwards = []
        for layer in self.layers:
            x, backward = layer.forward(x)
            backwards.append(backward)

        def backward_all(grad_y: np.ndarray) -> np.ndarray:
            for backward in reversed(backwards):
                grad_y = backward(grad_y)
            return grad_y

        return x, backward_all

    def forward_from_data(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """As `forward`, for an x that is data: a convolution in front does not compute a gradient nobody needs."""
        if not self.layers or not isinstance(self.layers[0], Conv2d):
            return self.forward(x)
        first = self.layers[0]
        y, rest = self[1:].forward(first(x))

        def backward(grad_y: np.ndarray) -> np.ndarray:
            first.backward(rest(grad_y), x, need_x=False)
            return np.zeros(0, x.dtype)

        return y, backward

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the last layer's result."""
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return tuple(input_shape)

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of the layers, their output shapes for an input of `input_shape`, and their parameters."""
        lines = [f"{'layer':<44}{'output shape':<22}{'parameters':>10}"]
        total = 0
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
            count = sum(p.value.size for p in layer.parameters())
            total += count
            lines.append(f"{layer!r:<44}{input_shape!s:<22}{count:>10,}")
        return "\n".join([*lines, f"{'total':<66}{total:>10,}"])

    def _children(self) -> Iterator[tuple[str, Parameter | Layer]]:
        for i, layer in enumerate(self.layers):
            yield str(i), layer

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        """A layer, or the Sequential of some of them, sharing their parameters."""
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"
