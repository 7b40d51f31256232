"""Losses, by element, and their gradients."""

from __future__ import annotations

import numpy as np

from fastconv.compat.mlfromscratch.utils.data_operation import accuracy_score

_LEAST = 1e-15  # probabilities stay so far from 0 and 1


class Loss:
    """The base of the losses; one of your own defines `loss` and `gradient`."""

    def loss(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The loss of every element."""
        raise NotImplementedError(f"{type(self).__name__} does not define loss(y, y_pred)")

    def gradient(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Its derivative by y_pred."""
        raise NotImplementedError(f"{type(self).__name__} does not define gradient(y, y_pred)")

    def acc(self, y: np.ndarray, y_pred: np.ndarray) -> float:
        """The share of samples that are classified rightly; 0 where there are no classes."""
        return 0


class SquareLoss(Loss):
    """(y - y_pred)**2 / 2."""

    def loss(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The loss of every element."""
        return 0.5 * np.square(y - y_pred)

    def gradient(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Its derivative by y_pred."""
        return y_pred - y


class CrossEntropy(Loss):
    """-y*log(p) - (1-y)*log(1-p) of every element, of one-hot rows y (N, K) and probabilities p.

    Example:
        >>> CrossEntropy().loss(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])).round(4)
        array([[0.6931, 0.6931]])
    """

    def loss(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The loss of every element."""
        p = _inside(y_pred)
        return -y * np.log(p) - (1 - y) * np.log(1 - p)

    def gradient(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Its derivative by p."""
        p = _inside(y_pred)
        return -(y / p) + (1 - y) / (1 - p)

    def acc(self, y: np.ndarray, y_pred: np.ndarray) -> float:
        """The share of rows whose largest probability is where that of y is."""
        return accuracy_score(np.argmax(y, axis=1), np.argmax(y_pred, axis=1))


def _inside(p: np.ndarray) -> np.ndarray:
    # in float32 the number next to 1 is 6e-8 away: a bound nearer than that would be 1 itself
    least = max(_LEAST, float(np.finfo(p.dtype).epsneg)) if p.dtype == np.float32 else _LEAST
    return np.clip(p, least, 1 - least)
