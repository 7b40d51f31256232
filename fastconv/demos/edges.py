"""Edges found by a kernel of two pixels."""

from __future__ import annotations

import numpy as np

from fastconv.demos.base import Demo, matrix
from fastconv.functional import correlate2d

KERNEL = np.array([[1.0, -1.0]])
WORDS = {
    "en": {"image": "image", "kernel": "kernel", "vertical": "vertical edges", "horizontal": "horizontal edges"},
    "zh": {"image": "图像", "kernel": "卷积核", "vertical": "垂直边缘", "horizontal": "水平边缘"},
}


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
    words, (vertical, horizontal) = WORDS[language], edges()
    lines = [*matrix(words["image"], image(), 0), *matrix(words["kernel"], KERNEL, 0)]
    lines += [*matrix(words["vertical"], vertical, 0), *matrix(words["horizontal"], horizontal, 0)]

    def pictures() -> dict[str, object]:
        from fastconv import viz

        titles = [words[name] for name in ("image", "vertical", "horizontal")]
        return {"edges": viz.show_images([image(), vertical, horizontal], titles)}

    return Demo(lines, {"vertical": vertical.tolist(), "horizontal": horizontal.tolist()}, pictures)
