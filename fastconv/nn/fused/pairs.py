"""Neighbouring layers that are computed together: convolution or linear layer, ReLU, max-pooling.

The results have the same bits as those of the layers one by one; a full activation is written once less on the way, and
the gradient of the ReLU costs no pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastconv import functional as F
from fastconv.functional.conv import convolution
from fastconv.functional.linear import affine
from fastconv.functional.max_pool import scattered
from fastconv.nn.activation import ReLU
from fastconv.nn.base import Backward, Layer
from fastconv.nn.conv import Conv2d
from fastconv.nn.fused.run import Run
from fastconv.nn.linear import Linear
from fastconv.nn.pool import MaxPool2d


class Fused(Run):
    """A `Conv2d` or `Linear`, then perhaps a `ReLU`, then perhaps a `MaxPool2d`.

    Attributes:
        layers: the first.
        first: the convolution or linear layer.
        relu: whether a ReLU follows.
        pool: the pooling that follows, or None.
    """

    def __init__(self, first: Conv2d | Linear, relu: bool, pool: MaxPool2d | None):
        self.first, self.relu, self.pool, self.layers = first, relu, pool, (first,)

    def _sums(self, x: np.ndarray) -> np.ndarray:
        weight, bias = self.first.weight.value, self.first.bias.value if self.first.bias else None
        if isinstance(self.first, Linear):
            return affine(x, weight, bias, self.relu)
        return convolution(x, weight, bias, *self.first.options, relu=self.relu)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The last layer's result."""
        y = self._sums(x)
        return self.pool(y) if self.pool else y

    def forward(self, x: np.ndarray, need_x: bool = True) -> tuple[np.ndarray, Backward]:
        """The last layer's result, and the gradient; of the layers' parameters alone unless `need_x`."""
        y = self._sums(x)
        if self.pool:
            shape = y.shape
            pooled, indices = F.max_pool2d_with_indices(y, *self.pool.options)

            def through_pool(grad_y: np.ndarray) -> np.ndarray:
                grad = scattered(grad_y, indices, shape, positive=pooled if self.relu else None)
                return self.first.backward(grad, x, need_x)  # type: ignore[return-value]

            return pooled, through_pool

        def backward(grad_y: np.ndarray) -> np.ndarray:
            grad = F.relu_backward(grad_y, y) if self.relu else grad_y
            return self.first.backward(grad, x, need_x)  # type: ignore[return-value]

        return y, backward


def fused(layers: Iterable[Layer]) -> list[Layer]:
    """The layers, those that can be computed together in one `Fused`; a subclass may do something else and is left."""
    steps: list[Layer] = []
    for layer in layers:
        last = steps[-1] if steps else None
        if type(layer) in (Conv2d, Linear):
            steps.append(Fused(layer, False, None))  # type: ignore[arg-type]
        elif type(layer) is ReLU and isinstance(last, Fused) and not last.relu and not last.pool:
            steps[-1] = Fused(last.first, True, None)
        elif type(layer) is MaxPool2d and isinstance(last, Fused) and last.relu and not last.pool:
            steps[-1] = Fused(last.first, True, layer)
        else:
            steps.append(layer)
    return steps
