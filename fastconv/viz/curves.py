"""How a run went."""

from __future__ import annotations

import os
from typing import Any

from fastconv.history import History
from fastconv.viz.figures import new_axes, save
from fastconv.viz.words import lettering


def plot_history(history: History, ax: Any = None, *, language: str = "en") -> Any:
    """Train loss, test loss and test accuracy by epoch.

    Args:
        history: from `fit`.
        ax: a matplotlib Axes, or None for one of a new figure.
        language: of the labels, "en" or "zh".

    Returns:
        The Axes; the accuracy is on a twin with an axis of its own.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    words = lettering(language)
    ax = new_axes()[0] if ax is None else ax
    epochs = [row["epoch"] for row in history.rows]
    lines = ax.plot(epochs, [row["train_loss"] for row in history.rows], "o-", color="C0", label=words("train loss"))
    ax.set_xlabel(words("epoch"), family=words.family)
    ax.set_ylabel(words("loss"), family=words.family)
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    if history.rows and history.rows[0].get("test_loss") is not None:
        losses = [row["test_loss"] for row in history.rows]
        lines += ax.plot(epochs, losses, "s--", color="C1", label=words("test loss"))
        right = ax.twinx()
        accuracy = [100 * row["test_accuracy"] for row in history.rows]
        lines += right.plot(epochs, accuracy, "^:", color="C2", label=words("test accuracy"))
        right.set_ylabel(words("accuracy (%)"), family=words.family)
    ax.legend(handles=lines, loc="center right", prop={"family": words.family})
    return ax


def save_history(history: History, path: str | os.PathLike[str], *, language: str = "en") -> None:
    """Write the picture of `plot_history`, whole or not at all; see `save`."""
    save(plot_history(history, language=language), path)
