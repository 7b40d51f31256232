"""Pooling layers."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import Int2, Padding
from fastconv._geometry.pool import pool_geometry
from fastconv.nn.base import Backward, Layer, check_images


class MaxPool2d(Layer):
    """The largest pixel of every window; see `fastconv.max_pool2d`, which explains the arguments.

    Example:
        >>> MaxPool2d(2)(np.zeros((2, 6, 28, 28))).shape
        (2, 6, 14, 14)
    """

    def __init__(
        self, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0, dilation: Int2 = 1,
        ceil_mode: bool = False,
    ):  # fmt: skip
        self.options = (kernel_size, stride, padding, dilation, ceil_mode)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The pooled batch."""
        return F.max_pool2d(x, *self.options)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The pooled batch, and its gradient."""
        y, indices = F.max_pool2d_with_indices(x, *self.options)
        shape = x.shape  # not x itself, which may then be freed
        return y, lambda grad_y: F.max_pool2d_backward(grad_y, indices, shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, C, OH, OW)."""
        check_images(self, input_shape)
        geometry = pool_geometry("MaxPool2d", input_shape[-2:], *self.options)
        return (*input_shape[:-2], geometry.rows.out, geometry.columns.out)

    def __repr__(self) -> str:
        return f"MaxPool2d({self.options[0]})"


class AvgPool2d(Layer):
    """The mean of every window; see `fastconv.avg_pool2d`, which explains the arguments.

    Example:
        >>> AvgPool2d(2)(np.zeros((2, 6, 28, 28))).shape
        (2, 6, 14, 14)
    """

    def __init__(
        self, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ):  # fmt: skip
        self.options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The pooled batch."""
        return F.avg_pool2d(x, *self.options)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The pooled batch, and its gradient."""
        y = self(x)
        shape = x.shape
        return y, lambda grad_y: F.avg_pool2d_backward(grad_y, shape, *self.options)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, C, OH, OW)."""
        check_images(self, input_shape)
        kernel_size, stride, padding, ceil_mode = self.options[:4]
        geometry = pool_geometry("AvgPool2d", input_shape[-2:], kernel_size, stride, padding, 1, ceil_mode)
        return (*input_shape[:-2], geometry.rows.out, geometry.columns.out)

    def __repr__(self) -> str:
        return f"AvgPool2d({self.options[0]})"


class GlobalAvgPool2d(Layer):
    """The mean of every plane: (N, C, H, W) to (N, C, 1, 1).

    Example:
        >>> GlobalAvgPool2d()(np.zeros((2, 64, 7, 7))).shape
        (2, 64, 1, 1)
    """

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The means of a batch."""
        return F.global_avg_pool2d(x)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The means of a batch, and their gradient."""
        y = self(x)
        shape = x.shape
        return y, lambda grad_y: F.global_avg_pool2d_backward(grad_y, shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, C, 1, 1)."""
        check_images(self, input_shape)
        return (*input_shape[:-2], 1, 1)
