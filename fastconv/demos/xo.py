"""The picture of an X, three kernels, and their maps after convolution, max-pooling and ReLU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.demos.base import Demo, matrix
from fastconv.nn import Conv2d, MaxPool2d, ReLU

NAMES = ("\\", "X", "/")
WORDS = {
    "en": {"image": "image", "kernel": "kernel", "map": "convolution", "pooled": "max-pooling", "relu": "ReLU",
           "sum": "sum"},
    "zh": {"image": "图像", "kernel": "卷积核", "map": "卷积", "pooled": "最大池化", "relu": "ReLU", "sum": "总和"},
}  # fmt: skip


class Maps(NamedTuple):
    """The three maps after each layer, (3, H, W) float64."""

    map: np.ndarray
    pooled: np.ndarray
    relu: np.ndarray


def image() -> np.ndarray:
    """The X: (9, 9), 1 on both diagonals without the cells of the border, -1 elsewhere."""
    picture = np.full((9, 9), -1.0)
    inner = np.arange(1, 8)
    picture[inner, inner] = picture[inner, 8 - inner] = 1
    return picture


def kernels() -> np.ndarray:
    r"""The kernels (3, 3, 3), 1 on a stroke of `\`, X or / and -1 beside it."""
    falling = 2 * np.eye(3) - 1
    rising = falling[:, ::-1]
    return np.stack([falling, np.maximum(falling, rising), rising])


def maps() -> Maps:
    """What the layers make of the X, with weights set by hand; each window's sum is divided by its 9 pixels.

    Example:
        >>> (9 * maps().map[1, 3]).round().astype(int).tolist()
        [-1, 3, -7, 9, -7, 3, -1]
    """
    conv = Conv2d(1, 3, 3, bias=False, dtype=np.float64)
    conv.weight.value[:, 0] = kernels()
    found = conv(image()[None, None])[0] / 9
    # windows of 2 x 2 need an even size: zeros at the bottom and on the right
    pooled = MaxPool2d(2)(np.pad(found, ((0, 0), (0, 1), (0, 1)))[None])[0]
    return Maps(found, pooled, ReLU()(found))


def demo(language: str = "en") -> Demo:
    """The demonstration in a language of `LANGUAGES`."""
    words, found = WORDS[language], maps()
    lines = matrix(words["image"], image(), 0)
    for i, name in enumerate(NAMES):
        lines += matrix(f"{words['kernel']} {name}", kernels()[i], 0)
        for step, array in found._asdict().items():
            total = f", {words['sum']} {array[i].sum():.4f}" if step == "relu" else ""
            lines += matrix(f"{words[step]} {name}{total}", array[i])
    numbers = {step: array.tolist() for step, array in found._asdict().items()}

    def pictures() -> dict[str, object]:
        from fastconv import viz

        drawn = {"image": viz.show_images([image()], [words["image"]])}
        for step, arrays in {"kernel": kernels(), **found._asdict()}.items():
            drawn[step] = viz.show_images(arrays, [f"{words[step]} {name}" for name in NAMES])
        return drawn

    return Demo(lines, numbers, pictures)
