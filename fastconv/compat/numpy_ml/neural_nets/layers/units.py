"""Layers of units: fully connected, flattening, softmax, and batch normalisation of channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._arguments import arrays
from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer
from fastconv.compat.numpy_ml.neural_nets.layers.base import Arrays, LayerBase
from fastconv.errors import ShapeError


class FullyConnected(LayerBase):
    """The product X @ W + b of rows (N, IN) with W (IN, OUT), and an activation of it.

    Args:
        n_out: OUT.
        act_fn: an activation, its text, or None.
        init: as for `WeightInitializer`.
        optimizer: an optimiser, its text, or None for `SGD()`.
        dtype: of the parameters; float32 is faster.

    Example:
        >>> FullyConnected(10, act_fn="Tanh").forward(np.zeros((2, 400))).shape
        (2, 10)
    """

    learnt = ("W", "b")
    derived = ("Z",)
    settings = ("init", "n_in", "n_out")

    def __init__(
        self, n_out: int, act_fn: Any = None, init: str = "glorot_uniform", optimizer: Any = None, *,
        dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        super().__init__(optimizer, act_fn, dtype)
        # None may be told before the first batch, as a decoder does that learns its size from its data
        self.n_out = n_out if n_out is None else integer("FullyConnected", "n_out", n_out, 1)
        self.init, self.n_in = init, None

    def _init_params(self, X: np.ndarray) -> Arrays:
        if X.ndim != 2:
            raise ShapeError(f"FullyConnected: X must have shape (N, IN), got {X.shape}; Flatten() makes it so")
        self.n_in, n_out = X.shape[1], integer("FullyConnected", "n_out", self.n_out, 1)
        W = np.asfortranarray(self._drawn((X.shape[1], n_out), self.init))  # the product takes its transpose
        return {"W": W, "b": np.zeros((1, n_out), self.dtype)}

    def _fwd(self, X: np.ndarray) -> np.ndarray:
        return F.linear(X, self.parameters["W"].T, self.parameters["b"].reshape(-1))

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        needs = (True, self.trainable, self.trainable)
        dX, dW, db = F.linear_backward(dZ, X, self.parameters["W"].T, needs=needs)
        return dX, {} if dW is None or db is None else {"W": dW.T, "b": db}  # type: ignore[return-value]


class Flatten(LayerBase):
    """Each sample as a row; or, `keep_dim="last"`, each channel as a column; or, -1, everything as one row.

    Example:
        >>> Flatten().forward(np.zeros((2, 5, 5, 16))).shape
        (2, 400)
    """

    settings = ("keep_dim",)

    def __init__(self, keep_dim: str | int = "first", optimizer: Any = None):
        super().__init__(optimizer)
        if keep_dim not in ("first", "last", -1):
            raise ValueError(f"Flatten: keep_dim must be 'first', 'last' or -1, got {keep_dim!r}")
        self.keep_dim = keep_dim
        self.derived_variables = {"in_dims": []}

    def forward(self, X: np.ndarray, retain_derived: bool = True) -> np.ndarray:
        """The rows."""
        arrays.numeric("Flatten", "X", X)
        if retain_derived:
            self.X.append(X)
            self.derived_variables["in_dims"].append(X.shape)
        if self.keep_dim == -1:
            return X.reshape(1, -1)
        if self.keep_dim == "first":
            return X.reshape(len(X), math.prod(X.shape[1:]))
        return X.reshape(math.prod(X.shape[:-1]), X.shape[-1])

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        return dZ.reshape(X.shape), {}


class Softmax(LayerBase):
    """exp(X) / sum(exp(X)) along the axis `dim`.

    Example:
        >>> Softmax().forward(np.zeros((1, 2)))
        array([[0.5, 0.5]])
    """

    settings = ("dim", "n_in")

    def __init__(self, dim: int = -1, optimizer: Any = None):
        super().__init__(optimizer)
        self.dim, self.n_in = integer("Softmax", "dim", dim, -8), None

    def _init_params(self, X: np.ndarray) -> Arrays:
        self.n_in = X.shape[-1]
        return {}

    def _fwd(self, X: np.ndarray) -> np.ndarray:
        return F.softmax(X, self.dim)

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        return F.softmax_backward(dZ, self._fwd(X), self.dim), {}


class BatchNorm2D(LayerBase):
    """Every channel of images (N, H, W, C) with mean 0 and variance 1, times a learnt scaler, plus an intercept.

    Mean and variance are the batch's; where the layer is frozen, or the result is not retained, the running ones,
    through which no gradient goes.

    Args:
        momentum: how much of the running statistics each batch leaves.
        epsilon: added to the variance.
        optimizer: an optimiser, its text, or None for `SGD()`.
        dtype: of the parameters; float32 is faster.

    Example:
        >>> layer = BatchNorm2D()
        >>> layer.forward(np.zeros((2, 5, 5, 3))).shape, sorted(layer.parameters)
        ((2, 5, 5, 3), ['intercept', 'running_mean', 'running_var', 'scaler'])
    """

    learnt = ("scaler", "intercept")
    kept = ("running_var", "running_mean")
    settings = ("in_ch", "out_ch", "epsilon", "momentum")

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, optimizer: Any = None, *, dtype: DTypeLike = np.float64
    ):
        super().__init__(optimizer, None, dtype)
        self.momentum = number("BatchNorm2D", "momentum", momentum, 0, 1)
        self.epsilon = number("BatchNorm2D", "epsilon", epsilon, 0)
        self.in_ch = self.out_ch = None

    def _init_params(self, X: np.ndarray) -> Arrays:
        C = self.in_ch = self.out_ch = X.shape[-1]
        drawn = np.random.rand(C).astype(self.dtype)  # noqa: NPY002
        zeros, ones = np.zeros(C, self.dtype), np.ones(C, self.dtype)
        return {"scaler": drawn, "intercept": zeros, "running_var": ones, "running_mean": zeros.copy()}

    def reset_running_stats(self) -> None:
        """Mean 0 and variance 1 again."""
        self._learns("reset_running_stats")
        for name, value in (("running_mean", 0), ("running_var", 1)):
            self.parameters[name] = np.full_like(self.parameters["scaler"], value)

    def forward(self, X: np.ndarray, retain_derived: bool = True) -> np.ndarray:
        """The normalised batch."""
        self._begin(X)
        if X.ndim != 4:
            raise ShapeError(f"BatchNorm2D: X must have shape (N, H, W, C), got {X.shape}")
        p = self.parameters
        mean, var = p["running_mean"], p["running_var"]
        if self.trainable and retain_derived:
            mean, var = X.mean(axis=(0, 1, 2)), X.var(axis=(0, 1, 2))
            for name, batch in (("running_mean", mean), ("running_var", var)):
                p[name] = self.momentum * p[name] + (1 - self.momentum) * batch
        if retain_derived:
            self.X.append(X)
        return F.batch_norm2d(X, mean, var, p["scaler"], p["intercept"], eps=self.epsilon, layout="NHWC")

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        p = self.parameters
        dX, scaler, intercept = F.batch_norm2d_backward(
            dZ, X, p["running_mean"], p["running_var"], p["scaler"], self.trainable, self.epsilon, layout="NHWC"
        )
        return dX, {"scaler": scaler, "intercept": intercept}  # type: ignore[dict-item, return-value]
