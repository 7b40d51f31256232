"""The mean of a loss over a batch."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.kernels import elementwise

ID_OUTSIDE = "{}: {} must hold class ids from 0 to {}, got {}"
LOGITS_SHAPE = "{}: logits must have shape (N, K) with K at least 1, got {}"


@jitable
def check_classes(where: str, logits: np.ndarray) -> None:
    """Raise a ShapeError unless logits are (N, K) with a class."""
    if logits.ndim != 2 or logits.shape[1] < 1:
        raise ShapeError(LOGITS_SHAPE, where, logits.shape)


@linked
def mean_cross_entropy(logits: np.ndarray, weights: np.ndarray, smoothing: float, grad: np.ndarray) -> float:
    """The mean cross-entropy of softmax(logits) with the weights of the classes, its gradient in grad: all (N, K).

    Of each weight the share `smoothing` is for all classes evenly.
    """
    N, K = logits.shape
    if N == 0:
        return 0.0
    losses, number = np.empty(N), logits.dtype.type
    wanted = weights * number(1 - smoothing) + number(smoothing / K) if smoothing > 0 else weights
    elementwise.cross_entropy(logits, wanted, losses, grad)
    return mean(losses)


@jitable
def mean(losses: np.ndarray) -> float:
    """The mean of the losses of a batch, (N,)."""
    return 0.0 + float(losses.sum()) / len(losses)  # from 0.0, so that it is never -0.0
