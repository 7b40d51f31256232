"""What layers with weights and a bias share: their function, its gradient, and where that goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastconv._runtime.recording import after
from fastconv.nn.base import Backward, Layer, Parameter


class Weighted(Layer):
    """A layer that computes function(x, weight, bias, *options).

    Its gradient is gradient(grad_y, x, weight, *options, needs), for x, weight and bias.
    """

    function: ClassVar[Callable]
    gradient: ClassVar[Callable]
    weight: Parameter
    bias: Parameter | None
    options: tuple[Any, ...] = ()

    def _full(self) -> np.ndarray:
        """The weights as the function takes them."""
        return self.weight.value

    def _own(self, grad_full: np.ndarray | None) -> np.ndarray | None:
        """The parameter's gradient from that of the weights as the function takes them."""
        return grad_full

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The result for a batch."""
        return type(self).function(x, self._full(), self.bias.value if self.bias else None, *self.options)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The result for a batch, and its gradient."""

        def backward(grad_y: np.ndarray) -> np.ndarray:
            return self.backward(grad_y, x)  # type: ignore[return-value]

        return self(x), backward

    def backward(self, grad_y: np.ndarray, x: np.ndarray, need_x: bool = True) -> np.ndarray | None:
        """Add to the parameters' gradients; the gradient of x, or None where it is not needed."""
        needs = (need_x, self.weight.trainable, self.bias is not None and self.bias.trainable)
        gradients = type(self).gradient(grad_y, x, self._full(), *self.options, needs=needs)
        grad_x, grad_weight, grad_bias = gradients
        after(lambda: self._accumulate(grad_weight, grad_bias))
        return grad_x

    def _accumulate(self, grad_weight: np.ndarray | None, grad_bias: np.ndarray | None) -> None:
        self.weight.accumulate(self._own(grad_weight))
        if self.bias is not None:
            self.bias.accumulate(grad_bias)
