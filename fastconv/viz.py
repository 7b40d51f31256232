"""Pictures with matplotlib (extra `plot`): functions take `ax=None`, return it, and never call `show`."""

from __future__ import annotations

import os
from typing import Any

from fastconv._files import written_whole
from fastconv.errors import MissingExtraError
from fastconv.training import History


def _figure() -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError('pictures need matplotlib: pip install "fastconv[plot]"') from error
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_history(history: History, ax: Any = None) -> Any:
    """Train loss, test loss and test accuracy by epoch.

    Args:
        history: from `fit`.
        ax: a matplotlib Axes, or None for one of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = _figure().add_subplot() if ax is None else ax
    epochs = [row["epoch"] for row in history.rows]
    ax.plot(epochs, [row["train_loss"] for row in history.rows], "o-", color="C0", label="train loss")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.locator_params(axis="x", integer=True)
    lines = list(ax.lines)
    if history.rows and history.rows[0]["test_loss"] is not None:
        lines += ax.plot(epochs, [row["test_loss"] for row in history.rows], "s--", color="C1", label="test loss")
        right = ax.twinx()
        accuracy = [100 * row["test_accuracy"] for row in history.rows]
        lines += right.plot(epochs, accuracy, "^:", color="C2", label="test accuracy")
        right.set_ylabel("accuracy (%)")
    ax.legend(handles=lines, loc="center right")
    return ax


def save_history(history: History, path: str | os.PathLike[str]) -> None:
    """Write the picture of `plot_history` as a PNG, whole or not at all."""
    ax = plot_history(history)
    with written_whole(path) as file:
        ax.figure.savefig(file, format="png", dpi=150)
