"""What every demonstration gives, and how it prints numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Demo:
    """The result of a demonstration.

    Attributes:
        lines: what it prints.
        numbers: the same for programs.
        pictures: draws the pictures, which needs the extra `plot`: a matplotlib Figure by the stem of its file's name.
    """

    lines: list[str]
    numbers: dict[str, Any]
    pictures: Callable[[], Mapping[str, Any]]


def matrix(title: str, values: np.ndarray, decimals: int = 2) -> list[str]:
    """A title, and the rows of a matrix in columns of equal width.

    Example:
        >>> matrix("K", np.array([[1.0, -0.5]]), 1)
        ['K (1 x 2)', '  1.0 -0.5', '']
    """
    cells = [[f"{value:.{decimals}f}" for value in row] for row in values]
    width = max(len(cell) for row in cells for cell in row)
    rows = ["  " + " ".join(cell.rjust(width) for cell in row) for row in cells]
    return [f"{title} ({values.shape[0]} x {values.shape[1]})", *rows, ""]
