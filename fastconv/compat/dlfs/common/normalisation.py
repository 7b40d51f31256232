"""Dropout, and batch normalisation of every feature by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments.scalars import number
from fastconv.compat.dlfs.common.kept import needed
from fastconv.compat.features import batch_normalised, dropped, masked, normalised, normalised_backward
from fastconv.errors import ShapeError


class Dropout:
    """In training each element is 0 with probability `dropout_ratio`; in inference each is multiplied by the rest.

    Random numbers come from NumPy's global state, in the book's order.

    Attributes:
        mask: what the last batch was multiplied by.
    """

    def __init__(self, dropout_ratio: float = 0.5):
        self.dropout_ratio = number("Dropout", "dropout_ratio", dropout_ratio, 0, 1)
        self.mask: Any = None

    def forward(self, x: np.ndarray, train_flg: bool = True) -> np.ndarray:
        """What is left of the batch."""
        if train_flg:
            y, self.mask = dropped(x, self.dropout_ratio)
            return y
        self.mask = 1.0 - self.dropout_ratio
        return x * self.mask

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        return masked(dout, needed(self, self.mask))


class BatchNormalization:
    """Every feature with mean 0 and variance 1 over the batch, times gamma, plus beta; images are flattened.

    In training, mean and variance are the batch's; in inference the running ones, through which no gradient goes.

    Args:
        gamma: (D,), or one number.
        beta: (D,), or one number.
        momentum: how much of the running statistics each batch leaves.
        running_mean: (D,); None is zeros.
        running_var: likewise.

    Attributes:
        dgamma: the gradient of gamma after `backward`, (D,).
        dbeta: the gradient of beta.
        xc: the last batch less its mean, as rows, computed when it is read.
        std: the root of its variance and 1e-6.
        xn: `xc / std`.

    Example:
        >>> BatchNormalization(np.ones(1), np.zeros(1)).forward(np.array([[0.0], [2.0]])).round(3)
        array([[-1.],
               [ 1.]])
    """

    eps = 1e-6

    def __init__(
        self, gamma: Any, beta: Any, momentum: float = 0.9, running_mean: np.ndarray | None = None,
        running_var: np.ndarray | None = None,
    ):  # fmt: skip
        self.gamma, self.beta = gamma, beta
        self.momentum = number("BatchNormalization", "momentum", momentum, 0, 1)
        self.running_mean, self.running_var = running_mean, running_var
        self.input_shape: tuple[int, ...] | None = None
        self.batch_size: int | None = None
        self.dgamma: np.ndarray | None = None
        self.dbeta: np.ndarray | None = None
        self._x: np.ndarray | None = None

    def forward(self, x: np.ndarray, train_flg: bool = True) -> np.ndarray:
        """The normalised batch, in the shape of x."""
        self.input_shape, self.batch_size, self._of_batch = x.shape, len(x), bool(train_flg)
        rows = x.reshape(len(x), -1)
        if self.running_mean is None or self.running_var is None:
            self.running_mean, self.running_var = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
        gamma, beta = self._each("gamma", rows), self._each("beta", rows)
        if train_flg:
            y, mean, var = batch_normalised(rows, gamma, beta, self.eps)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mean, var = self.running_mean, self.running_var
            y = normalised(rows, mean, var, gamma, beta, self.eps)
        self._x, self._used = rows, (mean, var, gamma)
        return y.reshape(x.shape)

    def _each(self, name: str, rows: np.ndarray) -> np.ndarray:
        """gamma or beta as an array (D,) of the batch's dtype."""
        value = np.asarray(getattr(self, name))
        if value.size not in (1, rows.shape[1]):
            raise ShapeError(f"BatchNormalization: {name} must have {rows.shape[1]} elements, got shape {value.shape}")
        return np.broadcast_to(value.reshape(-1), rows.shape[1]).astype(rows.dtype)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        x = needed(self, self._x)
        grad = dout.reshape(x.shape)
        dx, self.dgamma, self.dbeta = normalised_backward(grad, x, *self._used, self.eps, self._of_batch)
        return dx.reshape(self.input_shape)

    @property
    def xc(self) -> np.ndarray:
        """The last batch less the mean that was taken, (N, D)."""
        return needed(self, self._x) - self._used[0]

    @property
    def std(self) -> np.ndarray:
        """What that was divided by, (D,)."""
        needed(self, self._x)
        return np.sqrt(self._used[1] + self.eps)

    @property
    def xn(self) -> np.ndarray:
        """The quotient, (N, D)."""
        return self.xc / self.std
