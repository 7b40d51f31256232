"""The convolutional layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._geometry import Int2, Padding, integer, pair
from fastconv.errors import ShapeError
from fastconv.nn import init
from fastconv.nn.base import Backward, Layer, Parameter


class Conv2d(Layer):
    """A bank of learnt kernels convolved with images (N, C, H, W); see `fastconv.conv2d`.

    Args:
        in_channels: C.
        out_channels: OC.
        kernel_size: (KH, KW).
        stride: as for `conv2d`.
        padding: as for `conv2d`.
        dilation: as for `conv2d`.
        groups: as for `conv2d`.
        bias: whether a learnt number is added to each output channel; it starts at zero.
        initialiser: a function of `fastconv.nn.init` for the weights.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Example:
        >>> Conv2d(1, 6, 5, padding=2, rng=0)(np.zeros((2, 1, 28, 28), np.float32)).shape
        (2, 6, 28, 28)
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0,
        dilation: Int2 = 1, groups: int = 1, bias: bool = True, *, initialiser: Callable = init.he_uniform,
        rng: init.Rng = None, dtype: DTypeLike = np.float32,
    ):  # fmt: skip
        C, OC = integer("Conv2d", "in_channels", in_channels, 1), integer("Conv2d", "out_channels", out_channels, 1)
        groups = integer("Conv2d", "groups", groups, 1)
        if C % groups or OC % groups:
            raise ShapeError(f"Conv2d: groups {groups} must divide in_channels {C} and out_channels {OC}")
        shape = (OC, C // groups, *pair("Conv2d", "kernel_size", kernel_size, 1))
        self.weight = Parameter(initialiser(shape, rng, dtype), "weight")
        self.bias = Parameter(np.zeros(OC, dtype), "bias") if bias else None
        self.options = (stride, padding, dilation, groups)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The convolution of a batch (N, C, H, W)."""
        return F.conv2d(x, self.weight.value, self.bias.value if self.bias else None, *self.options)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The convolution of a batch, and its gradient."""

        def backward(grad_y: np.ndarray) -> np.ndarray:
            return self.backward(grad_y, x)  # type: ignore[return-value]

        return self(x), backward

    def backward(self, grad_y: np.ndarray, x: np.ndarray, need_x: bool = True) -> np.ndarray | None:
        """Add to the parameters' gradients; the gradient of x, or None where it is not needed."""
        needs = (need_x, self.weight.trainable, self.bias is not None and self.bias.trainable)
        grad_x, grad_weight, grad_bias = F.conv2d_backward(grad_y, x, self.weight.value, *self.options, needs=needs)
        self.weight.accumulate(grad_weight)
        if self.bias is not None:
            self.bias.accumulate(grad_bias)
        return grad_x

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, OC, OH, OW)."""
        return F.conv_output_shape(tuple(input_shape), self.weight.value.shape, *self.options[:3])

    def __repr__(self) -> str:
        OC, C, KH, KW = self.weight.value.shape
        stride, padding, dilation, groups = self.options
        text = f"Conv2d({C * groups}, {OC}, ({KH}, {KW}), stride={stride}, padding={padding!r}"
        return (
            text + (f", dilation={dilation}" if dilation != 1 else "") + (f", groups={groups})" if groups > 1 else ")")
        )
