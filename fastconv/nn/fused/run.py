"""What neighbouring layers are that run as one."""

from __future__ import annotations

import numpy as np

from fastconv.nn.base import Backward, Layer


class Run(Layer):
    """Neighbouring layers of a `Sequential` that are computed together.

    Attributes:
        layers: the layers, in order.
    """

    layers: tuple[Layer, ...]

    def forward(self, x: np.ndarray, need_x: bool = True) -> tuple[np.ndarray, Backward]:
        """The last layer's result, and the gradient; of the layers' parameters alone unless `need_x`."""
        raise NotImplementedError

    def described(self, shape: tuple[int, ...], dtype: np.dtype) -> str:
        """How images of a shape are computed, for `summary`."""
        raise NotImplementedError


def layers_of(step: Layer) -> tuple[Layer, ...]:
    """The layers of a run, or the step alone."""
    return step.layers if isinstance(step, Run) else (step,)
