"""Layers of units: activations, the affine layer, the loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv.compat.dlfs.common.convolution import bias_of
from fastconv.compat.dlfs.common.functions import cross_entropy_error, rows_of, shares, softmax
from fastconv.compat.dlfs.common.kept import needed


class Relu:
    """max(x, 0).

    Attributes:
        mask: where the last x was not positive.

    Example:
        >>> Relu().forward(np.array([-1.0, 2.0]))
        array([0., 2.])
    """

    def __init__(self) -> None:
        self.out: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """max(x, 0)."""
        self.out = F.relu(x)
        return self.out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x; dout stays as it is."""
        return F.relu_backward(dout, needed(self, self.out))

    @property
    def mask(self) -> np.ndarray | None:
        """Where the last x was not positive; None before the first."""
        return None if self.out is None else self.out <= 0


class Sigmoid:
    """1 / (1 + exp(-x)), without overflow.

    Example:
        >>> layer = Sigmoid()
        >>> layer.forward(np.array([0.0])), layer.backward(np.array([4.0]))
        (array([0.5]), array([1.]))
    """

    def __init__(self) -> None:
        self.out: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The function of every element."""
        self.out = F.sigmoid(x)
        return self.out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        return F.sigmoid_backward(dout, needed(self, self.out))


class Affine:
    """The product x @ W + b with W (IN, OUT) and b (OUT,), or one number; images x (N, C, H, W) are flattened.

    Attributes:
        dW: the gradient of W after `backward`.
        db: the gradient of b.

    Example:
        >>> Affine(np.ones((12, 2)), np.zeros(2)).forward(np.ones((1, 3, 2, 2)))
        array([[12., 12.]])
    """

    def __init__(self, W: np.ndarray, b: Any):
        self.W, self.b = W, b
        self.x: np.ndarray | None = None
        self.original_x_shape: tuple[int, ...] | None = None
        self.dW: np.ndarray | None = None
        self.db: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The product (N, OUT)."""
        self.original_x_shape = x.shape
        self.x = x.reshape(len(x), math.prod(x.shape[1:]))
        return F.linear(self.x, self.W.T, bias_of("Affine", self.b, self.W.shape[1], self.W.dtype))

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        dx, dW, self.db = F.linear_backward(dout, needed(self, self.x), self.W.T)
        self.dW = dW.T  # type: ignore[union-attr]
        return dx.reshape(self.original_x_shape)  # type: ignore[union-attr]


class SoftmaxWithLoss:
    """`cross_entropy_error` of softmax(x), x (N, K) or one row (K,), with t: class ids or one-hot rows.

    Attributes:
        loss: what `forward` returned.
        y: the probabilities, in the shape of x.
        t: the labels as they were given.

    Example:
        >>> last = SoftmaxWithLoss()
        >>> round(float(last.forward(np.zeros((1, 2)), np.array([1]))), 4), last.backward()
        (0.6931, array([[ 0.5, -0.5]]))
    """

    def __init__(self) -> None:
        self.loss: float | None = None
        self.y: np.ndarray | None = None
        self.t: np.ndarray | None = None

    def forward(self, x: np.ndarray, t: np.ndarray) -> float:
        """The loss."""
        self.t, self.y = t, softmax(x)
        self.loss = cross_entropy_error(self.y, t)
        return self.loss

    def backward(self, dout: float = 1) -> np.ndarray:
        """The gradient of x, that of the loss but for the 1e-7 in its logarithm, times `dout`."""
        y = needed(self, self.y)
        rows = rows_of("SoftmaxWithLoss", y)
        dx = (rows - shares("SoftmaxWithLoss", rows, needed(self, self.t))) * (dout / len(rows))
        return dx.reshape(y.shape)
