"""The kernel that finds edges, learnt from an image and its edges."""

from __future__ import annotations

import numpy as np

from fastconv.demos import edges
from fastconv.demos.base import Demo
from fastconv.nn import Conv2d, init
from fastconv.optim import SGD

STEPS, RATE = 20, 0.02
WORDS = {"en": {"weights": "weights", "wanted": "wanted"}, "zh": {"weights": "权重", "wanted": "目标"}}


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
    words, (losses, kernel) = WORDS[language], learn()
    lines = [f"epoch {step}, loss {losses[step - 1]:.3f}" for step in range(2, STEPS + 1, 2)]
    for word, values in (("weights", kernel), ("wanted", edges.KERNEL)):
        lines.append(f"{words[word]} {' '.join(f'{value:.5f}' for value in values[0])}")

    def pictures() -> dict[str, object]:
        from fastconv import viz

        return {"kernels": viz.show_images([kernel, edges.KERNEL], [words["weights"], words["wanted"]])}

    return Demo(lines, {"losses": losses, "weights": kernel.tolist()}, pictures)
