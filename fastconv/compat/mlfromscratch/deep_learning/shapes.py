"""Layers that move pixels and compute nothing: padding, flattening, reshaping, repeating."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv._arguments.sizes import NUMBERS, Int2, padding_argument, pair, sizes
from fastconv.compat.mlfromscratch.deep_learning.base import Layer
from fastconv.errors import ShapeError


class ConstantPadding2D(Layer):
    """Images with rows and columns of a number around them.

    Args:
        padding: (h, w) on both sides, or ((top, bottom), (left, right)).
        padding_value: the number, or as `numpy.pad` takes it.

    Example:
        >>> ConstantPadding2D((0, 1), 7).forward_pass(np.zeros((1, 1, 1, 2)))
        array([[[[7., 0., 0., 7.]]]])
    """

    def __init__(self, padding: Any, padding_value: Any = 0):
        if isinstance(padding, tuple | list) and len(padding) == 2 and not _alike(*padding):
            padding = tuple(p if isinstance(p, tuple | list) else (p, p) for p in padding)
        named, self.padding = padding_argument(self.layer_name(), padding)
        if named != NUMBERS:
            raise ShapeError(f"{self.layer_name()}: padding must be integers, got {padding!r}")
        self.padding_value = padding_value

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The padded batch."""
        return np.pad(X, ((0, 0), (0, 0), *self.padding), constant_values=self.padding_value)

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of what is inside of the padding."""
        (top, bottom), (left, right) = self.padding
        return accum_grad[:, :, top : accum_grad.shape[2] - bottom, left : accum_grad.shape[3] - right]

    def output_shape(self) -> tuple[int, int, int]:
        """(C, H, W) with the padding."""
        C, H, W = self._shape(3)
        return C, H + sum(self.padding[0]), W + sum(self.padding[1])


def _alike(first: Any, second: Any) -> bool:
    return isinstance(first, tuple | list) == isinstance(second, tuple | list)


class ZeroPadding2D(ConstantPadding2D):
    """Images with zeros around them.

    Example:
        >>> ZeroPadding2D(((0, 1), (0, 1))).forward_pass(np.ones((1, 1, 1, 1)))
        array([[[[1., 0.],
                 [0., 0.]]]])
    """

    def __init__(self, padding: Any):
        super().__init__(padding, 0)


class Flatten(Layer):
    """Each sample as a row (N, D)."""

    def __init__(self, input_shape: tuple[int, ...] | None = None):
        self.input_shape = input_shape
        self.prev_shape: tuple[int, ...] | None = None

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The rows."""
        self.prev_shape = X.shape
        return X.reshape(len(X), math.prod(X.shape[1:]))

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient in the shape of the batch."""
        return accum_grad.reshape(self._went_forward(self.prev_shape))

    def output_shape(self) -> tuple[int, ...]:
        """(D,)."""
        return (math.prod(self._shape()),)


class Reshape(Layer):
    """Each sample in another shape.

    Example:
        >>> Reshape((2, 3)).forward_pass(np.zeros((5, 6))).shape
        (5, 2, 3)
    """

    def __init__(self, shape: tuple[int, ...], input_shape: tuple[int, ...] | None = None):
        self.shape = sizes("Reshape", "shape", shape, tuple(range(1, 9)))
        self.input_shape = input_shape
        self.prev_shape: tuple[int, ...] | None = None

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The batch in that shape."""
        if math.prod(X.shape[1:]) != math.prod(self.shape):
            raise ShapeError(f"Reshape: shape {self.shape} does not fit an input of shape {X.shape}")
        self.prev_shape = X.shape
        return X.reshape(len(X), *self.shape)

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient in the shape that the batch had."""
        return accum_grad.reshape(self._went_forward(self.prev_shape))

    def output_shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.shape


class UpSampling2D(Layer):
    """Every pixel repeated, `size` = (rows, columns) times.

    Example:
        >>> up = UpSampling2D((1, 2))
        >>> up.forward_pass(np.array([[[[1.0, 2.0]]]]))
        array([[[[1., 1., 2., 2.]]]])
        >>> up.backward_pass(np.array([[[[1.0, 2.0, 3.0, 4.0]]]]))
        array([[[[3., 7.]]]])
    """

    def __init__(self, size: Int2 = (2, 2), input_shape: tuple[int, int, int] | None = None):
        self.size = pair("UpSampling2D", "size", size, 1)
        self.input_shape = input_shape
        self.prev_shape: tuple[int, ...] | None = None

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The repeated pixels."""
        self.prev_shape = X.shape
        return X.repeat(self.size[0], axis=2).repeat(self.size[1], axis=3)

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The sum of the gradients of each pixel's copies; the tutorial takes the first one's."""
        N, C, H, W = self._went_forward(self.prev_shape)
        return accum_grad.reshape(N, C, H, self.size[0], W, self.size[1]).sum(axis=(3, 5))

    def output_shape(self) -> tuple[int, int, int]:
        """(C, H, W) times the size."""
        C, H, W = self._shape(3)
        return C, self.size[0] * H, self.size[1] * W
