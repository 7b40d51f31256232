"""What every layer has, and what checks it makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import sizes
from fastconv.errors import ShapeError


class Layer:
    """The base of the layers; one of your own defines `forward_pass`, `backward_pass` and `output_shape`.

    Attributes:
        input_shape: of the input, without the batch; the network tells it to any but the first layer.
        trainable: whether `backward_pass` updates the layer's weights.
        dtype: of the weights that `initialize` draws; a network sets it to its own.
    """

    input_shape: tuple[int, ...] | None = None
    trainable = True
    dtype: DTypeLike = np.float64

    def set_input_shape(self, shape: tuple[int, ...]) -> None:
        """Tell the layer the shape of its input: the `output_shape()` of the layer before it."""
        self.input_shape = shape

    def layer_name(self) -> str:
        """What the layer is called in a network's summary."""
        return type(self).__name__

    def parameters(self) -> int:
        """How many parameters are learnt."""
        return 0

    def forward_pass(self, X: np.ndarray, training: bool) -> np.ndarray:
        """The layer's result for a batch X."""
        raise NotImplementedError(f"{self.layer_name()} does not define forward_pass(X, training)")

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the input for the gradient of the result; updates the layer's own weights."""
        raise NotImplementedError(f"{self.layer_name()} does not define backward_pass(accum_grad)")

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the result, without the batch."""
        raise NotImplementedError(f"{self.layer_name()} does not define output_shape()")

    def _shape(self, *ranks: int, hint: str = "") -> tuple[int, ...]:
        """The shape of the input if it is known and of one of the ranks."""
        if self.input_shape is None:
            raise ValueError(f"{self.layer_name()}: input_shape must be given to the first layer, got None")
        try:
            return sizes(self.layer_name(), "input_shape", self.input_shape, ranks or tuple(range(1, 9)))
        except ShapeError as error:
            raise ShapeError(f"{error}{hint}") from None

    def _went_forward(self, kept: Any) -> Any:
        """What the forward pass kept for the backward pass, if there was one."""
        if kept is None:
            raise ValueError(f"{self.layer_name()}: backward_pass needs a forward_pass before it")
        return kept
