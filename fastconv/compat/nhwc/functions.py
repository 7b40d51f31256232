"""Activations, the loss, the accuracy."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F


def relu(t: np.ndarray) -> np.ndarray:
    """max(t, 0)."""
    return F.relu(t)


def drelu(t: np.ndarray) -> np.ndarray:
    """1 where t > 0, else 0: the derivative of `relu`.

    Example:
        >>> drelu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 1.])
    """
    return F.relu_backward(np.ones_like(t), t)


def softmax(X: np.ndarray) -> np.ndarray:
    """exp(X) / sum(exp(X)) for each row, without overflow; X stays as it is."""
    return F.softmax(X)


def entrop_loss(y_p: np.ndarray, y_label: np.ndarray) -> float:
    """The mean cross-entropy of probabilities with one-hot rows, both (N, K); 1e-5 is added to the probabilities.

    Example:
        >>> round(entrop_loss(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])), 5)
        0.69313
    """
    return float(np.mean(np.sum(-y_label * np.log(y_p + 1e-5), axis=1)))


def accuracy(y_predict: np.ndarray, y_t: np.ndarray) -> float:
    """The share, 0 to 1, of rows (N, K) whose largest element is where that of the one-hot row is.

    Example:
        >>> accuracy(np.array([[0.9, 0.1], [0.8, 0.2]]), np.eye(2))
        0.5
    """
    return float(np.mean(y_predict.argmax(axis=1) == y_t.argmax(axis=1)))


def gradient_clip(dw: np.ndarray, min: float, max: float) -> np.ndarray:
    """A copy of dw with every element limited to min..max; `fastconv.optim.clip_grad_value` works in place.

    Example:
        >>> gradient_clip(np.array([1.0, -20.0, 30.0]), -10, 10)
        array([  1., -10.,  10.])
    """
    return np.clip(dw, min, max)
