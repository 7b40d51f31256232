"""The convolution."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import Int2, integer, pair
from fastconv._geometry.conv import window_geometry
from fastconv.compat.mlfromscratch.deep_learning.base import Layer
from fastconv.compat.mlfromscratch.deep_learning.columns import determine_padding, image_to_column


class Conv2D(Layer):
    """A bank of learnt kernels convolved with images (N, C, H, W).

    Args:
        n_filters: F.
        filter_shape: (FH, FW).
        input_shape: (C, H, W); the network tells it to any but the first layer.
        padding: `"same"` or `"valid"`, as for `determine_padding`.
        stride: pixels between windows.

    Attributes:
        W: the weights (F, C, FH, FW), uniform from -1/sqrt(FH*FW) to 1/sqrt(FH*FW).
        w0: the biases (F, 1), zeros at first.
        trainable: whether `backward_pass` updates them.
        X_col: the last batch as `image_to_column` makes it, computed when it is read.
        W_col: the weights that it met, as rows (F, C*FH*FW).

    Example:
        >>> conv = Conv2D(16, (3, 3), input_shape=(3, 32, 32), padding="same", stride=1)
        >>> conv.initialize(None)
        >>> conv.forward_pass(np.zeros((1, 3, 32, 32), np.uint8)).shape, conv.parameters()
        ((1, 16, 32, 32), 448)
    """

    def __init__(
        self, n_filters: int, filter_shape: Int2, input_shape: tuple[int, int, int] | None = None,
        padding: str = "same", stride: int = 1,
    ):  # fmt: skip
        self.n_filters = n_filters
        self.filter_shape = filter_shape
        self.input_shape = input_shape
        self.padding = padding
        self.stride = stride
        self.layer_input: np.ndarray | None = None

    def initialize(self, optimizer: Any) -> None:
        """Draw the weights and take a copy of the optimiser for each array; None leaves them as they are drawn.

        Raises:
            ValueError: the shape of the input is not known.
        """
        where = self.layer_name()
        F_ = integer(where, "n_filters", self.n_filters, 1)
        shape = (F_, self._shape(3)[0], *pair(where, "filter_shape", self.filter_shape, 1))
        limit = 1 / math.sqrt(math.prod(shape[2:]))
        self.W = np.random.uniform(-limit, limit, shape).astype(self.dtype, copy=False)  # noqa: NPY002
        self.w0 = np.zeros((F_, 1), self.dtype)
        self.W_opt, self.w0_opt = copy.copy(optimizer), copy.copy(optimizer)

    def parameters(self) -> int:
        """The number of weights and biases."""
        return self.W.size + self.w0.size

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The convolution of a batch (N, C, H, W): (N, F, OH, OW)."""
        self.layer_input, self._W_used = X, self.W
        return F.conv2d(X, self.W, self.w0[:, 0], self.stride, determine_padding(self.filter_shape, self.padding))

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch that went forward; then the weights are updated.

        Raises:
            ValueError: nothing went forward.
        """
        X = self._went_forward(self.layer_input)
        learns = self.trainable and self.W_opt is not None
        padding = determine_padding(self.filter_shape, self.padding)
        needs = (True, learns, learns)
        grad_x, grad_w, grad_w0 = F.conv2d_backward(accum_grad, X, self._W_used, self.stride, padding, needs=needs)
        if learns:
            self.W = self.W_opt.update(self.W, grad_w)
            self.w0 = self.w0_opt.update(self.w0, grad_w0[:, None])  # type: ignore[index]
        return grad_x  # type: ignore[return-value]

    @property
    def X_col(self) -> np.ndarray:
        """The last batch that went forward as columns (C*FH*FW, OH*OW*N)."""
        return image_to_column(self._went_forward(self.layer_input), self.filter_shape, self.stride, self.padding)

    @property
    def W_col(self) -> np.ndarray:
        """The weights that the last batch met, as rows (F, C*FH*FW)."""
        self._went_forward(self.layer_input)
        return self._W_used.reshape(self.n_filters, -1)

    def output_shape(self) -> tuple[int, int, int]:
        """(F, OH, OW)."""
        padding = determine_padding(self.filter_shape, self.padding)
        g = window_geometry(self.layer_name(), self._shape(3), self.filter_shape, self.stride, padding, 1)
        return self.n_filters, g.rows.out, g.columns.out
