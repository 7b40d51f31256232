"""Figures that pyplot knows nothing of, and their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastconv.data.files import written_atomically
from fastconv.errors import MissingExtraError

SUFFIXES = (".png", ".svg", ".pdf")
DPI = 150


def library() -> Any:
    """Matplotlib, or an error that tells how to get it."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError('pictures need matplotlib: pip install "fastconv[plot]"') from error
    return matplotlib


def new_axes(
    rows: int = 1, width: float = 6.4, height: float = 4.0, ratios: Sequence[float] | None = None
) -> list[Any]:
    """Axes below each other on a new figure, which no window shows.

    Args:
        rows: how many.
        width: of the figure, in inches.
        height: of the figure, in inches.
        ratios: of the heights of the Axes; None makes them equal.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    library()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return list(figure.subplots(rows, squeeze=False, height_ratios=ratios)[:, 0])


def check_suffix(where: str, path: str | os.PathLike[str]) -> str:
    """The ending of `path`, or an error that names those that can be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{where} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got {str(path)!r}")
    return suffix


def save(ax: Any, path: str | os.PathLike[str]) -> None:
    """Write the figure that an Axes is on, whole or not at all.

    Args:
        ax: a matplotlib Axes, as the functions of `fastconv.viz` return it.
        path: a file name that ends in `.png`, `.svg` or `.pdf`.

    Raises:
        ValueError: the name has another ending.
        OSError: the file cannot be written.
    """
    suffix = check_suffix("save: path", path)
    with written_atomically(path) as file:
        ax.figure.savefig(file, format=suffix[1:], dpi=DPI)
