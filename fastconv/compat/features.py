"""Batch normalisation of every feature by itself, over the batch alone, as two tutorials have it; and their dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.arrays import empty, ready
from fastconv._runtime.backend import on_numpy
from fastconv.kernels import features as kernels


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


def batch_normalised(
    X: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """`normalised` with the batch's own mean and variance, and these: both (D,)."""
    if not _by_kernels(X, weight, bias):
        mean, var = batch_statistics(X)
        return normalised(X, mean, var, weight, bias, eps), mean, var
    mean, var, rows = np.empty(weight.size), np.empty(weight.size), ready(X, X.dtype).reshape(len(X), -1)
    y = empty("BatchNormalization", rows.shape, X.dtype)
    w, b = (ready(a, X.dtype).reshape(-1) for a in (weight, bias))
    with np.errstate(all="ignore"):
        kernels.normalise(rows, w, b, float(eps), mean, var, y)
    return y.reshape(X.shape), mean.astype(X.dtype, copy=False), var.astype(X.dtype, copy=False)


def _by_kernels(X: np.ndarray, *others: np.ndarray) -> bool:
    same = all(type(a) is np.ndarray and a.dtype == X.dtype for a in others)
    return same and X.size > 0 and X.dtype in (np.float32, np.float64) and not on_numpy()


def normalised(
    X: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> np.ndarray:
    """(X - mean) / sqrt(var + eps) * weight + bias, in the shape of X; the others have D elements."""
    m, v, w, b = (a.reshape(-1) for a in (mean, var, weight, bias))
    if _by_kernels(X, mean, var, weight, bias):
        rows = ready(X, X.dtype).reshape(len(X), -1)
        y = empty("BatchNormalization", rows.shape, X.dtype)
        with np.errstate(all="ignore"):
            factor = w / np.sqrt(v + X.dtype.type(eps))
        kernels.scale(rows, *(ready(a, X.dtype) for a in (m, factor, b)), y)
        return y.reshape(X.shape)
    return F.batch_norm2d(_planes(X), m, v, w, b, eps=eps).reshape(X.shape)


def normalised_backward(
    grad: np.ndarray, X: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, eps: float, of_batch: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of X, weight (D,) and bias (D,); through mean and variance too where they are `of_batch`'s.

    A batch of one sample is its own mean: its gradient is 0, and so is the weight's.
    """
    m, v, w = (a.reshape(-1) for a in (mean, var, weight))
    through = of_batch and len(X) > 1
    if through and _by_kernels(X, grad, weight):
        rows, grads = (ready(a, X.dtype).reshape(len(X), -1) for a in (X, grad))
        grad_x, D = empty("BatchNormalization", rows.shape, X.dtype), rows.shape[1]
        sums, numbers = (np.empty(D), np.empty(D)), (np.array(m, np.float64), np.array(v, np.float64))
        with np.errstate(all="ignore"):
            kernels.normalise_backward(grads, rows, *numbers, ready(w, X.dtype), float(eps), grad_x, *sums)
        of_weight, of_bias = (a.astype(X.dtype, copy=False) for a in sums)
        return grad_x.reshape(X.shape), of_weight, of_bias
    planes, g = _planes(X), _planes(grad)
    found, grad_weight, grad_bias = F.batch_norm2d_backward(g, planes, m, v, w, training=through, eps=eps)
    if of_batch and len(X) == 1:
        found = np.zeros_like(planes)
    return found.reshape(X.shape), grad_weight, grad_bias  # type: ignore[union-attr, return-value]


def dropped(X: np.ndarray, p: float) -> tuple[np.ndarray, np.ndarray]:
    """X times the mask of uniform numbers of NumPy's global state that are above p, and the mask."""
    if not _by_kernels(X):
        mask = np.random.random_sample(X.shape) > p  # noqa: NPY002
        return X * mask, mask
    drawn, mask = empty("Dropout", X.shape, np.dtype(np.float64)), empty("Dropout", X.shape, np.dtype(np.bool_))
    # the same numbers, in memory that is there
    np.random.Generator(np.random.get_bit_generator()).random(out=drawn)  # type: ignore[attr-defined]
    y = empty("Dropout", X.shape, X.dtype)
    kernels.drop(ready(X, X.dtype).reshape(-1), drawn.reshape(-1), float(p), mask.reshape(-1), y.reshape(-1))
    return y, mask


def masked(X: np.ndarray, mask: Any) -> np.ndarray:
    """X times a mask of its shape, or times one number."""
    if not (isinstance(mask, np.ndarray) and mask.shape == X.shape and mask.dtype == bool and _by_kernels(X)):
        return X * mask
    y = empty("Dropout", X.shape, X.dtype)
    kernels.masked(ready(X, X.dtype).reshape(-1), ready(mask, mask.dtype).reshape(-1), y.reshape(-1))
    return y


def relu_gradient(grad: np.ndarray, X: np.ndarray) -> np.ndarray:
    """grad times the derivative of a ReLU at X that is 1 at 0."""
    if not (grad.shape == X.shape and _by_kernels(X, grad)):
        return grad * (X >= 0)
    found = empty("ReLU", X.shape, X.dtype)
    kernels.where_not_negative(ready(grad, X.dtype).reshape(-1), ready(X, X.dtype).reshape(-1), found.reshape(-1))
    return found
