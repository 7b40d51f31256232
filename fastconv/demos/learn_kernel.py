"""The kernel that finds edges, learnt from an image and its edges."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.demos import edges
from fastconv.demos.base import Demo, spoken
from fastconv.nn import Conv2d, init
from fastconv.optim import SGD

STEPS, RATE = 20, 0.02
CHINESE = {"weights": "权重", "wanted": "目标"}


def learn() -> tuple[list[float], np.ndarray]:
    """The sum of squared errors before each step, and the kernel (1, 2) after the last, from zeros by gradient descent.

    Example:
        >>> losses, kernel = learn()
        >>> kernel.round(5)
        array([[ 0.98847, -0.98847]])
    """
    x, wanted = edges.image()[None, None], edges.edges()[0][None, None]
    conv = Conv2d(1, 1, (1, 2), bias=False, initialiser=init.zeros, dtype=np.float64)
    optimizer = SGD(conv.parameters(), RATE)
    losses = []
    for _ in range(STEPS):
        y, backward = conv.forward(x)
        losses.append(float(((y - wanted) ** 2).sum()))
        optimizer.zero_grad()
        backward(2 * (y - wanted))
        optimizer.step()
    return losses, conv.weight.value[0, 0]


def demo(language: str = "en") -> Demo:
    """The demonstration in a language of `LANGUAGES`."""
    say, (losses, kernel) = spoken(language, CHINESE), learn()
    lines = [f"epoch {step}, loss {losses[step - 1]:.3f}" for step in range(2, STEPS + 1, 2)]
    for word, values in (("weights", kernel), ("wanted", edges.KERNEL)):
        lines.append(f"{say(word)} {' '.join(f'{value:.5f}' for value in values[0])}")

    def pictures() -> dict[str, Any]:
        from fastconv import viz

        say = spoken(viz.lettering(language).language, CHINESE)
        titles = [say("weights"), say("wanted")]
        return {"kernels": viz.plot_images(np.stack([kernel, edges.KERNEL]), titles, columns=1, language=language)}

    return Demo(lines, {"losses": losses, "weights": kernel.tolist()}, pictures)
