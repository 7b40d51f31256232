"""Pooling of images, channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import integer, pair
from fastconv.compat.numpy_ml.neural_nets.layers.base import Arrays, LayerBase
from fastconv.compat.numpy_ml.neural_nets.utils.padding import pad2D


class Pool2D(LayerBase):
    """The largest pixel of every window, the first of equals, or the mean; padding counts as 0 for both.

    Args:
        kernel_shape: (KH, KW) of a window.
        stride: pixels between windows.
        pad: as for `pad2D`.
        mode: `"max"` or `"average"`.
        optimizer: not used.

    Example:
        >>> Pool2D((2, 2), stride=2).forward(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """

    settings = ("pad", "mode", "in_ch", "out_ch", "stride", "kernel_shape")
    derived = ("out_rows", "out_cols")

    def __init__(
        self, kernel_shape: tuple[int, int], stride: int = 1, pad: Any = 0, mode: str = "max", optimizer: Any = None
    ):
        super().__init__(optimizer)
        self.kernel_shape = pair("Pool2D", "kernel_shape", kernel_shape, 1)
        self.stride = integer("Pool2D", "stride", stride, 1)
        self.mode = one_of("Pool2D", "mode", mode, ("max", "average"))
        self.pad = pad
        self.in_ch = self.out_ch = None

    def _init_params(self, X: np.ndarray) -> Arrays:
        self.in_ch = self.out_ch = X.shape[-1]
        return {}

    def _fwd(self, X: np.ndarray) -> np.ndarray:
        padded, _ = pad2D(X, self.pad, self.kernel_shape, self.stride)
        pool = F.max_pool2d if self.mode == "max" else F.avg_pool2d
        return pool(padded, self.kernel_shape, self.stride, layout="NHWC")

    def forward(self, X: np.ndarray, retain_derived: bool = True) -> np.ndarray:
        """The pooled batch (N, OH, OW, C)."""
        self._begin(X)
        Y = self._fwd(X)
        if retain_derived:
            self.X.append(X)
            self.derived_variables["out_rows"].append(Y.shape[1])
            self.derived_variables["out_cols"].append(Y.shape[2])
        return Y

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        padded, (top, bottom, left, right) = pad2D(X, self.pad, self.kernel_shape, self.stride)
        if self.mode == "max":
            _, cells = F.max_pool2d_with_indices(padded, self.kernel_shape, self.stride, layout="NHWC")
            found = F.max_pool2d_backward(dZ, cells, padded.shape, layout="NHWC")
        else:
            found = F.avg_pool2d_backward(dZ, padded.shape, self.kernel_shape, self.stride, layout="NHWC")
        _, H, W, _ = padded.shape
        return found[:, top : H - bottom, left : W - right], {}
