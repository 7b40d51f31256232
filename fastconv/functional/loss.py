"""Losses, each with its gradient."""

from __future__ import annotations

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.scalars import number
from fastconv._engine.loss import ID_OUTSIDE, check_classes, mean_cross_entropy
from fastconv._runtime.backend import on_numpy
from fastconv.errors import DTypeError, RangeError


def cross_entropy(
    logits: np.ndarray, target: np.ndarray, *, label_smoothing: float = 0.0
) -> tuple[float, np.ndarray]:  # fmt: skip
    """The mean cross-entropy of softmax(logits) with the targets, and its gradient.

    loss = -mean over n of sum over k of t[n, k] * log_softmax(logits)[n, k]

    Args:
        logits: (N, K), float32 or float64 (others as for `conv2d`).
        target: class ids (N,), integers from 0 to K - 1; or (N, K) one-hot rows or other weights of the classes.
        label_smoothing: the share of each target, 0 to 1, that is spread evenly over all classes.

    Returns:
        (loss, grad_logits): a float, 0.0 for an empty batch; and (N, K).

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: a class id, or label_smoothing, is out of range.
        TypeError: an argument is not a numeric array, or ids are not integers.

    Example:
        >>> loss, grad = cross_entropy(np.zeros((1, 2)), np.array([1]))
        >>> round(loss, 4), grad
        (0.6931, array([[ 0.5, -0.5]]))

    Source: semantics of PyTorch's `cross_entropy`, reduction "mean"; label smoothing: C. Szegedy et al., Rethinking the
    Inception architecture (2015), section 7.
    """
    return cross_entropy_of("cross_entropy", "target", logits, target, label_smoothing)


def cross_entropy_of(
    where: str, name: str, logits: np.ndarray, target: np.ndarray, label_smoothing: float = 0.0
) -> tuple[float, np.ndarray]:
    """`cross_entropy` inside the function `where`, whose argument `name` the targets are: its errors say so."""
    logits, target = arrays.numeric(where, "logits", logits), arrays.numeric(where, name, target)
    check_classes(where, logits)
    N, K = logits.shape
    if target.ndim == 1:
        _check_ids(where, name, target, N, K)
    else:
        arrays.same_shape(where, name, target, (N, K))
    smoothing = number(where, "label_smoothing", label_smoothing, 0, 1)
    dtype = arrays.result_dtype(logits)
    compute = arrays.compute_dtype(dtype)
    values = ready(logits, compute)
    if on_numpy():
        loss, grad = reference.cross_entropy(values, target, label_smoothing=smoothing)
        return loss, grad.astype(dtype, copy=False)
    weights, grad = np.zeros((N, K), compute), np.empty((N, K), compute)
    if target.ndim == 1:
        weights[np.arange(N), target] = 1
    else:
        weights[...] = target
    return mean_cross_entropy(values, weights, smoothing, grad), grad.astype(dtype, copy=False)


def _check_ids(where: str, name: str, target: np.ndarray, N: int, K: int) -> None:
    arrays.same_shape(where, name, target, (N,))
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{where}: {name} must hold class ids as integers, got {target.dtype}")
    if N and (target.min() < 0 or target.max() >= K):
        bad = target[(target < 0) | (target >= K)][0]
        raise RangeError(ID_OUTSIDE, where, name, K - 1, bad)
