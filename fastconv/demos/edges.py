"""Edges found by a kernel of two pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.demos.base import Demo, matrix, spoken
from fastconv.functional import correlate2d

KERNEL = np.array([[1.0, -1.0]])
CHINESE = {
    "image": "图像", "kernel": "卷积核", "vertical edges": "垂直边缘", "horizontal edges": "水平边缘",
}  # fmt: skip


def image() -> np.ndarray:
    """(6, 8), white but for two black rectangles in columns 2 to 5, above row 2 and below it."""
    picture = np.ones((6, 8))
    picture[[0, 1, 3, 4, 5], 2:6] = 0
    return picture


def edges() -> tuple[np.ndarray, np.ndarray]:
    """The vertical edges (6, 7) and the horizontal ones (5, 8): 1 where white becomes black, -1 where black does white.

    Example:
        >>> edges()[0][0]
        array([ 0.,  1.,  0.,  0.,  0., -1.,  0.])
    """
    return correlate2d(image(), KERNEL), correlate2d(image(), KERNEL.T)


def demo(language: str = "en") -> Demo:
    """The demonstration in a language of `LANGUAGES`."""
    say, (vertical, horizontal) = spoken(language, CHINESE), edges()
    arrays = {"image": image(), "kernel": KERNEL, "vertical edges": vertical, "horizontal edges": horizontal}
    lines = [line for name, array in arrays.items() for line in matrix(say(name), array, 0)]

    def pictures() -> dict[str, Any]:
        from fastconv import viz

        say = spoken(viz.lettering(language).language, CHINESE)
        return {
            name.replace(" ", "-"): viz.plot_image(array, title=say(name), language=language)
            for name, array in arrays.items()
        }

    return Demo(lines, {"vertical": vertical.tolist(), "horizontal": horizontal.tolist()}, pictures)
