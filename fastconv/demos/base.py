"""What every demonstration gives, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fastconv.data import load_digits
from fastconv.models import MODELS
from fastconv.nn import Sequential
from fastconv.optim import Adam
from fastconv.training import evaluate, fit

LANGUAGES = ("en", "zh")
Pictures: TypeAlias = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Demo:
    """The result of a demonstration.

    Attributes:
        lines: what it prints.
        numbers: the same for programs.
        pictures: draws the pictures, with the extra `plot`: matplotlib's Axes by the stems of their files' names.
    """

    lines: list[str]
    numbers: dict[str, Any]
    pictures: Pictures


def spoken(language: str, chinese: Mapping[str, str]) -> Callable[[str], str]:
    """A function from English words to those of the language.

    Example:
        >>> spoken("zh", {"image": "图像"})("image"), spoken("en", {})("image")
        ('图像', 'image')
    """
    return chinese.__getitem__ if language == "zh" else str


def matrix(title: str, values: np.ndarray, decimals: int = 2) -> list[str]:
    """A title, and the rows of a matrix in columns of equal width.

    Example:
        >>> matrix("K", np.array([[1.0, -0.5]]), 1)
        ['K (1 x 2)', '   1.0 -0.5', '']
    """
    cells = [[f"{value:.{decimals}f}" for value in row] for row in values]
    width = max(len(cell) for row in cells for cell in row)
    rows = ["  " + " ".join(cell.rjust(width) for cell in row) for row in cells]
    return [f"{title} ({values.shape[0]} x {values.shape[1]})", *rows, ""]


def learnt(name: str, epochs: int) -> tuple[Sequential, Sequential, float]:
    """A model before and after it has learnt the embedded digits, and its accuracy on the test images."""
    before, model = (MODELS[name](rng=0) for _ in range(2))
    train, test = load_digits()
    fit(model, train, optimizer=Adam(model.parameters(), 2e-3), epochs=epochs, rng=0)
    return before, model, evaluate(model, *test)[1]
