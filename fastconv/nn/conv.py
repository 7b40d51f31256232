"""The convolutional layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._arguments.sizes import Int2, Padding, integer, pair
from fastconv._geometry.conv_transpose import conv_transpose_geometry
from fastconv.errors import ShapeError
from fastconv.nn import init
from fastconv.nn.base import Parameter, check_images
from fastconv.nn.weighted import Weighted


class _Convolution(Weighted):
    """Weights in groups of channels."""

    def __init__(
        self, channels: tuple[Any, Any], groups: Any, shape: Callable[[int, int, int], tuple[int, ...]], bias: bool,
        options: tuple[Any, ...], initialiser: Callable, rng: init.Rng, dtype: DTypeLike,
    ):  # fmt: skip
        where = type(self).__name__
        C, OC = (integer(where, name, n, 1) for name, n in zip(("in_channels", "out_channels"), channels))
        groups = integer(where, "groups", groups, 1)
        if C % groups or OC % groups:
            raise ShapeError(f"{where}: groups {groups} must divide in_channels {C} and out_channels {OC}")
        self.weight = Parameter(initialiser(shape(C, OC, groups), rng, dtype), "weight")
        self.bias = Parameter(np.zeros(OC, dtype), "bias") if bias else None
        self.options = options


class Conv2d(_Convolution):
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

    function, gradient = F.conv2d, F.conv2d_backward
    options: tuple[Int2, Padding, Int2, int]

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0,
        dilation: Int2 = 1, groups: int = 1, bias: bool = True, *, initialiser: Callable = init.he_uniform,
        rng: init.Rng = None, dtype: DTypeLike = np.float32,
    ):  # fmt: skip
        KH, KW = pair("Conv2d", "kernel_size", kernel_size, 1)
        super().__init__(
            (in_channels, out_channels), groups, lambda C, OC, G: (OC, C // G, KH, KW), bias,
            (stride, padding, dilation, groups), initialiser, rng, dtype,
        )  # fmt: skip

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, OC, OH, OW)."""
        if len(input_shape) == 3:
            return self.output_shape((1, *input_shape))[1:]
        found = F.conv_output_shape(tuple(input_shape), self.weight.value.shape, *self.options[:3])
        C = self.weight.value.shape[1] * self.options[3]
        if input_shape[-3] != C:  # which might fit another number of groups
            raise ShapeError(f"Conv2d: takes {C} channels, got an input of shape {tuple(input_shape)}")
        return found

    def __repr__(self) -> str:
        OC, C, KH, KW = self.weight.value.shape
        stride, padding, dilation, groups = self.options
        text = f"Conv2d({C * groups}, {OC}, ({KH}, {KW}), stride={stride}, padding={padding!r}"
        return (
            text + (f", dilation={dilation}" if dilation != 1 else "") + (f", groups={groups})" if groups > 1 else ")")
        )


class ConvTranspose2d(_Convolution):
    """A bank of learnt kernels that every pixel adds to a larger image; see `fastconv.conv_transpose2d`.

    Args:
        in_channels: C.
        out_channels: OC.
        kernel_size: (KH, KW).
        stride: as for `conv_transpose2d`.
        padding: as for `conv_transpose2d`.
        output_padding: as for `conv_transpose2d`.
        groups: as for `conv_transpose2d`.
        bias: whether a learnt number is added to each output channel; it starts at zero.
        dilation: as for `conv_transpose2d`.
        initialiser: a function of `fastconv.nn.init` for the weights (C, OC/groups, KH, KW), whose second size it
            takes for the fan-in, as PyTorch does.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Example:
        >>> ConvTranspose2d(16, 3, 4, stride=2, padding=1, rng=0)(np.zeros((2, 16, 8, 8), np.float32)).shape
        (2, 3, 16, 16)
    """

    function, gradient = F.conv_transpose2d, F.conv_transpose2d_backward

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0,
        output_padding: Int2 = 0, groups: int = 1, bias: bool = True, dilation: Int2 = 1, *,
        initialiser: Callable = init.he_uniform, rng: init.Rng = None, dtype: DTypeLike = np.float32,
    ):  # fmt: skip
        KH, KW = pair("ConvTranspose2d", "kernel_size", kernel_size, 1)
        super().__init__(
            (in_channels, out_channels), groups, lambda C, OC, G: (C, OC // G, KH, KW), bias,
            (stride, padding, output_padding, groups, dilation), initialiser, rng, dtype,
        )  # fmt: skip

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, OC, OH, OW)."""
        check_images(self, input_shape)
        g = conv_transpose_geometry("ConvTranspose2d", input_shape[-3:], self.weight.value.shape, *self.options)
        return (*input_shape[:-3], g.C, g.rows.size, g.columns.size)

    def __repr__(self) -> str:
        C, OC, KH, KW = self.weight.value.shape
        stride, padding, output_padding, groups, dilation = self.options
        text = f"ConvTranspose2d({C}, {OC * groups}, ({KH}, {KW}), stride={stride}, padding={padding!r}"
        others = {"output_padding": (output_padding, 0), "groups": (groups, 1), "dilation": (dilation, 1)}
        return text + "".join(f", {name}={value}" for name, (value, usual) in others.items() if value != usual) + ")"
