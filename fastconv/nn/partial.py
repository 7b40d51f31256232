"""The convolutional layer of which only some channels are connected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._arguments.sizes import Int2, Padding, pair
from fastconv.errors import DTypeError, ShapeError
from fastconv.nn import init
from fastconv.nn.base import Parameter
from fastconv.nn.weighted import Weighted


class PartialConv2d(Weighted):
    """A convolution in which each output channel takes only the input channels that a table names.

    Args:
        connections: (OC, C) booleans: whether output channel oc takes input channel c.
        kernel_size: (KH, KW).
        stride: as for `conv2d`.
        padding: as for `conv2d`.
        dilation: as for `conv2d`.
        bias: whether a learnt number is added to each output channel; it starts at zero.
        initialiser: a function of `fastconv.nn.init`, for the weights of a layer with all connections.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Attributes:
        weight: Parameter (connections, KH, KW): in the order of the table, row by row.
        bias: Parameter (OC,) or None.

    Example:
        >>> layer = PartialConv2d(np.array([[True, False], [True, True]]), 3, rng=0)
        >>> layer.weight.value.shape, layer(np.zeros((1, 2, 5, 5), np.float32)).shape
        ((3, 3, 3), (1, 2, 3, 3))

    Source: Y. LeCun et al., Gradient-based learning applied to document recognition (1998), table I.
    """

    function, gradient = F.conv2d, F.conv2d_backward

    def __init__(
        self, connections: np.ndarray, kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0, dilation: Int2 = 1,
        bias: bool = True, *, initialiser: Callable = init.he_uniform, rng: init.Rng = None,
        dtype: DTypeLike = np.float32,
    ):  # fmt: skip
        where = "PartialConv2d"
        if not isinstance(connections, np.ndarray) or connections.dtype != np.bool_:
            raise DTypeError(f"{where}: connections must be an array of booleans, got {type(connections).__name__}")
        if connections.ndim != 2 or not connections.any():
            raise ShapeError(f"{where}: connections must be (OC, C) with one at least, got shape {connections.shape}")
        self.connections = connections.copy()
        shape = (*connections.shape, *pair(where, "kernel_size", kernel_size, 1))
        self.weight = Parameter(initialiser(shape, rng, dtype)[connections], "weight")
        self.bias = Parameter(np.zeros(len(connections), dtype), "bias") if bias else None
        self.options = (stride, padding, dilation)

    def full_weight(self) -> np.ndarray:
        """The weights (OC, C, KH, KW) of the `Conv2d` that computes the same, zero where there is no connection."""
        weight = self.weight.value
        full = np.zeros((*self.connections.shape, *weight.shape[1:]), weight.dtype)
        full[self.connections] = weight
        return full

    def _full(self) -> np.ndarray:
        return self.full_weight()

    def _own(self, grad_full: np.ndarray | None) -> np.ndarray | None:
        return None if grad_full is None else grad_full[self.connections]

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(N, OC, OH, OW)."""
        if len(input_shape) == 3:
            return self.output_shape((1, *input_shape))[1:]
        full = (*self.connections.shape, *self.weight.value.shape[1:])
        if len(input_shape) == 4 and input_shape[1] != full[1]:  # which might fit a number of groups
            raise ShapeError(f"PartialConv2d: takes {full[1]} channels, got an input of shape {tuple(input_shape)}")
        return F.conv_output_shape(tuple(input_shape), full, *self.options)

    def __repr__(self) -> str:
        (OC, C), (count, KH, KW) = self.connections.shape, self.weight.value.shape
        return f"PartialConv2d({C}, {OC}, ({KH}, {KW}), {count} connections)"
