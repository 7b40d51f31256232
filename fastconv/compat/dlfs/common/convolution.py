"""The convolution and its pooling."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import integer
from fastconv.compat.dlfs.common.kept import needed
from fastconv.compat.dlfs.common.util import im2col
from fastconv.errors import ShapeError


def bias_of(where: str, b: Any, count: int, dtype: np.dtype) -> np.ndarray | None:
    """b as an array (count,), or None for 0; one number is the same for all."""
    if np.ndim(b) == 0:
        return None if b is None or b == 0 else np.full(count, b, dtype)
    if np.size(b) != count:
        raise ShapeError(f"{where}: b must be a number or have {count} elements, got shape {np.shape(b)}")
    return np.reshape(b, -1)


class Convolution:
    """The convolution of images with the kernels W (F, C, FH, FW), plus b (F,), or one number.

    Attributes:
        dW: the gradient of W after `backward`.
        db: the gradient of b.
        x: the last batch.
        col: the last batch as `im2col` makes it, computed when it is read.
        col_W: the kernels as columns (C*FH*FW, F).

    Example:
        >>> conv = Convolution(np.ones((2, 1, 3, 3)), np.zeros(2), pad=1)
        >>> conv.forward(np.ones((1, 1, 3, 3)))[0, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])
        >>> conv.backward(np.ones((1, 2, 3, 3))).shape, conv.db
        ((1, 1, 3, 3), array([9., 9.]))
    """

    def __init__(self, W: np.ndarray, b: Any, stride: int = 1, pad: int = 0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.x: np.ndarray | None = None
        self.dW: np.ndarray | None = None
        self.db: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The convolution (N, F, OH, OW)."""
        self.x = x
        return F.conv2d(x, self.W, bias_of("Convolution", self.b, len(self.W), self.W.dtype), self.stride, self.pad)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        dx, self.dW, self.db = F.conv2d_backward(dout, needed(self, self.x), self.W, self.stride, self.pad)
        return dx  # type: ignore[return-value]

    @property
    def col(self) -> np.ndarray | None:
        """The windows of the last batch as rows; None before the first."""
        return None if self.x is None else im2col(self.x, self.W.shape[2], self.W.shape[3], self.stride, self.pad)

    @property
    def col_W(self) -> np.ndarray:
        """The kernels as columns."""
        return self.W.reshape(len(self.W), -1).T


class Pooling:
    """Max-pooling; padding counts as -inf.

    Args:
        pool_h: the rows of a window.
        pool_w: its columns.
        stride: pixels between windows. If it is not given it is 2, as in the book's repository today, and a warning
            tells so where 1, as in an article that names these layers, gives another result.
        pad: pixels around the images.

    Attributes:
        x: the last batch.
        arg_max: (N*OH*OW*C,), the place of each window's largest pixel in it, computed when it is read.

    Example:
        >>> pool = Pooling(2, 2, stride=2)
        >>> pool.forward(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])
        >>> pool.arg_max
        array([3, 3, 3, 3])
    """

    def __init__(self, pool_h: int, pool_w: int, stride: int | None = None, pad: int = 0):
        self.pool_h, self.pool_w = integer("Pooling", "pool_h", pool_h, 1), integer("Pooling", "pool_w", pool_w, 1)
        self._given = stride is not None
        self.stride = 2 if stride is None else integer("Pooling", "stride", stride, 1)
        self.pad = integer("Pooling", "pad", pad)
        self.x: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The largest pixels (N, C, OH, OW)."""
        self.x = x
        out, self._cells = F.max_pool2d_with_indices(x, (self.pool_h, self.pool_w), self.stride, self.pad)
        if not self._given and (
            x.shape[-2] + 2 * self.pad > self.pool_h or x.shape[-1] + 2 * self.pad > self.pool_w
        ):  # more than one window
            self._given = True
            warnings.warn(
                "Pooling: stride was not given and is 2, as in the book's repository; an article that names these "
                "layers has 1, which gives another result; give one",
                stacklevel=2,
            )
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        return F.max_pool2d_backward(dout, self._cells, needed(self, self.x).shape)

    @property
    def arg_max(self) -> np.ndarray | None:
        """The places in their windows; None before the first batch."""
        if self.x is None:
            return None
        rows, columns = np.divmod(self._cells, self.x.shape[3])
        rows = rows - (np.arange(rows.shape[2])[:, None] * self.stride - self.pad)
        columns = columns - (np.arange(columns.shape[3]) * self.stride - self.pad)
        return (rows * self.pool_w + columns).transpose(0, 2, 3, 1).reshape(-1)
