"""Which classes a model takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv._arguments.sizes import integer
from fastconv.errors import ShapeError
from fastconv.viz.figures import new_axes
from fastconv.viz.pictures import named
from fastconv.viz.words import lettering

CELL, LONGEST = 0.45, 14.0  # inches: of a class, of all at most
NUMBERED = 30  # more classes leave no room for numbers


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many samples of each class are taken for each.

    Args:
        labels: class ids (N,).
        predicted: class ids (N,), as `predict(model, x).argmax(axis=1)`.
        classes: how many classes there are.

    Returns:
        (classes, classes) int64, a row for each class, a column for what it is taken for.

    Raises:
        ShapeError: sizes do not fit.
        ValueError: an id is out of range.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        array([[1, 1],
               [0, 1]])
    """
    where = "confusion_matrix"
    K = integer(where, "classes", classes, 1)
    for name, ids in (("labels", labels), ("predicted", predicted)):
        named(where, name, ids, None)
        if len(ids) and not 0 <= ids.min() <= ids.max() < K:
            raise ValueError(f"{where}: {name} must be ids from 0 to {K - 1}, got {ids.min()} to {ids.max()}")
    if len(labels) != len(predicted):
        raise ShapeError(f"{where}: predicted must be as many as labels, {len(labels)}, got {len(predicted)}")
    pairs = K * labels.astype(np.int64) + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=K * K).reshape(K, K)


def plot_confusion(
    labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], ax: Any = None, *, language: str = "en"
) -> Any:
    """The confusion matrix, darker the larger the share of the class, with the numbers of up to 30 classes.

    Args:
        labels: class ids (N,).
        predicted: class ids (N,), as `predict(model, x).argmax(axis=1)`.
        class_names: by id.
        ax: a matplotlib Axes, or None for one of a new figure.
        language: of the title, "en" or "zh".

    Returns:
        The Axes.

    Raises:
        ShapeError: sizes do not fit.
        ValueError: a class has no name.
        TypeError: an argument is of the wrong kind.
        MissingExtraError: matplotlib is not installed.
    """
    K = len(class_names)
    counts = confusion_matrix(labels, predicted, K)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = lettering(language)
    if ax is None:
        side = min(CELL * K, LONGEST)
        (ax,) = new_axes(1, side + 1.6, side + 1.2)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (actual, taken_for), count in np.ndenumerate(counts if K <= NUMBERED else np.empty((0, 0), int)):
        colour = "white" if shares[actual, taken_for] > 0.5 else "black" if count else "lightgrey"
        ax.text(taken_for, actual, f"{count}", ha="center", va="center", size=8, color=colour)
    names = [words.shown(name) for name in class_names]
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
    ax.set_xticks(range(K), names, family=words.family, **slanted)
    ax.set_yticks(range(K), names, family=words.family)
    ax.set_xlabel(words("predicted class"), family=words.family)
    ax.set_ylabel(words("actual class"), family=words.family)
    ax.set_title(words("confusion matrix"), family=words.family)
    return ax
