"""Scores of predictions."""

from __future__ import annotations

import numpy as np


def accuracy_score(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """The share, 0 to 1, of predictions that are right.

    Example:
        >>> float(accuracy_score(np.array([1, 2]), np.array([1, 3])))
        0.5
    """
    if np.shape(y_true) != np.shape(y_pred):  # would be broadcast
        raise ValueError(
            f"accuracy_score: y_pred must have the shape {np.shape(y_true)} of y_true, got {np.shape(y_pred)}"
        )
    return np.sum(np.equal(y_true, y_pred), axis=0) / len(y_true)


def mean_squared_error(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """The mean of squared differences."""
    return np.mean(np.square(np.subtract(y_true, y_pred)))
