"""Pooling, which crashes in the tutorial: its padding of 0 is none that its columns know."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import Int2, Pads, integer, pair
from fastconv._geometry.pool import pool_geometry
from fastconv.compat.mlfromscratch.deep_learning.base import Layer
from fastconv.compat.mlfromscratch.deep_learning.columns import determine_padding


class PoolingLayer(Layer):
    """What both poolings share.

    Args:
        pool_shape: (PH, PW) of a window.
        stride: pixels between windows; 1, as in the tutorial.
        padding: pixels around the images, or `"same"` or `"valid"`, as for `determine_padding`.
    """

    def __init__(self, pool_shape: Int2 = (2, 2), stride: int = 1, padding: int | str = 0):
        self.pool_shape = pair(self.layer_name(), "pool_shape", pool_shape, 1)
        self.stride = integer(self.layer_name(), "stride", stride, 1)
        self.padding = padding
        self._pads()
        self.layer_input: np.ndarray | None = None

    def _pads(self) -> Pads:
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    f"{self.layer_name()}: padding must be an integer, 'same' or 'valid', got {self.padding!r}"
                )
            return determine_padding(self.pool_shape, self.padding)
        p = integer(self.layer_name(), "padding", self.padding)
        return (p, p), (p, p)

    def output_shape(self) -> tuple[int, int, int]:
        """(C, OH, OW); a window that would reach over the edge is left out."""
        C, H, W = self._shape(3)
        g = pool_geometry(self.layer_name(), (H, W), self.pool_shape, self.stride, self._pads(), 1, False)
        return C, g.rows.out, g.columns.out


class MaxPooling2D(PoolingLayer):
    """The largest pixel of every window, the first of equals; padding counts as -inf.

    Example:
        >>> pool = MaxPooling2D((2, 2), stride=2)
        >>> pool.forward_pass(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])
        >>> pool.backward_pass(np.ones((1, 1, 2, 2)))[0, 0, 3]
        array([0., 1., 0., 1.])
    """

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The largest pixels (N, C, OH, OW)."""
        self.layer_input = X
        out, self.cache = F.max_pool2d_with_indices(X, self.pool_shape, self.stride, self._pads())
        return out

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch."""
        return F.max_pool2d_backward(accum_grad, self.cache, self._went_forward(self.layer_input).shape)


class AveragePooling2D(PoolingLayer):
    """The mean of every window; padding counts as 0.

    Example:
        >>> AveragePooling2D((2, 2), stride=2).forward_pass(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
    """

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The means (N, C, OH, OW)."""
        self.layer_input = X
        return F.avg_pool2d(X, self.pool_shape, self.stride, self._pads())

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch."""
        shape = self._went_forward(self.layer_input).shape
        return F.avg_pool2d_backward(accum_grad, shape, self.pool_shape, self.stride, self._pads())
