"""The picture of an X, three kernels, and their maps after convolution, max-pooling and ReLU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv.demos.base import Demo, matrix, spoken
from fastconv.nn import Conv2d, MaxPool2d, ReLU

NAMES = ("\\", "X", "/")
CHINESE = {
    "image": "图像", "kernel": "卷积核", "convolution": "卷积", "max-pooling": "最大池化", "ReLU": "ReLU",
    "sum": "总和",
}  # fmt: skip


class Maps(NamedTuple):
    """The maps of the three kernels after each layer: (3, 7, 7), (3, 4, 4) and (3, 7, 7) float64."""

    convolution: np.ndarray
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
        >>> (9 * maps().convolution[1, 3]).round().astype(int).tolist()
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
    say, found = spoken(language, CHINESE), maps()
    layers = {"convolution": found.convolution, "max-pooling": found.pooled, "ReLU": found.relu}
    lines = matrix(say("image"), image(), 0)
    for i, name in enumerate(NAMES):
        lines += matrix(f"{say('kernel')} {name}", kernels()[i], 0)
        for layer, array in layers.items():
            total = f", {say('sum')} {array[i].sum():.4f}" if layer == "ReLU" else ""
            lines += matrix(f"{say(layer)} {name}{total}", array[i])
    numbers = {name: array.tolist() for name, array in found._asdict().items()}

    def pictures() -> dict[str, Any]:
        from fastconv import viz

        say = spoken(viz.lettering(language).language, CHINESE)
        drawn = {"image": viz.plot_image(image(), title=say("image"), language=language)}
        for layer, arrays in {"kernel": kernels(), **layers}.items():
            titles = [f"{say(layer)} {name}" for name in NAMES]
            drawn[layer.lower()] = viz.plot_images(arrays, titles, columns=len(NAMES), language=language)
        return drawn

    return Demo(lines, numbers, pictures)
