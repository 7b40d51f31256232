"""Batch normalisation of every feature by itself, over the batch alone, as two tutorials have it."""

from __future__ import annotations

import math

import numpy as np

from fastconv import functional as F
from fastconv._arguments.arrays import ready
from fastconv._engine.batch_norm import gradients
from fastconv._runtime.backend import on_numpy


def _planes(X: np.ndarray) -> np.ndarray:
    """(N, ...) as images (N, D, 1, 1), whose channels are the features."""
    return X.reshape(len(X), math.prod(X.shape[1:]), 1, 1)


def batch_statistics(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the variance, over N, of every feature: both (D,).

    Example:
        >>> batch_statistics(np.array([[1.0, 2.0], [3.0, 2.0]]))
        (array([2., 2.]), array([1., 0.]))
    """
    rows = X.reshape(len(X), -1)
    return rows.mean(axis=0), rows.var(axis=0)


def normalised(
    X: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> np.ndarray:
    """(X - mean) / sqrt(var + eps) * weight + bias, in the shape of X; the others have D elements."""
    m, v, w, b = (a.reshape(-1) for a in (mean, var, weight, bias))
    return F.batch_norm2d(_planes(X), m, v, w, b, eps=eps).reshape(X.shape)


def normalised_backward(
    grad: np.ndarray, X: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, eps: float, of_batch: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of X, weight (D,) and bias (D,); through mean and variance too where they are `of_batch`'s.

    A batch of one sample is its own mean: its gradient is 0, and so is the weight's.
    """
    planes, g = _planes(X), _planes(grad)
    m, v, w = (a.reshape(-1) for a in (mean, var, weight))
    through = of_batch and len(X) > 1
    if through and X.size and X.dtype == grad.dtype and X.dtype in (np.float32, np.float64) and not on_numpy():
        # the batch's statistics are known; the function would take them from X anew, a third of its time
        numbers = (np.array(a, np.float64) for a in (m, v, w))
        with np.errstate(all="ignore"):
            found = gradients(
                "BatchNormalization", ready(g, X.dtype), ready(planes, X.dtype), *numbers, True, float(eps), (True,) * 3
            )
        return tuple(a.astype(X.dtype, copy=False).reshape(s) for a, s in zip(found, (X.shape, -1, -1)))
    grad_x, grad_weight, grad_bias = F.batch_norm2d_backward(g, planes, m, v, w, training=through, eps=eps)
    if of_batch and len(X) == 1:
        grad_x = np.zeros_like(planes)
    return grad_x.reshape(X.shape), grad_weight, grad_bias  # type: ignore[union-attr, return-value]
