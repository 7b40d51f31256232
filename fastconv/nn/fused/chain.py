"""Steps one after another, and the gradient back through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastconv.nn.base import Backward, Layer
from fastconv.nn.fused.run import Run
from fastconv.nn.naming import named


def chained(
    steps: Sequence[Layer], x: np.ndarray, need_x: bool = True, top: bool = False, once: bool = False
) -> tuple[np.ndarray, Backward]:
    """Run the steps one after another; the gradient of x itself may not be needed.

    The steps at the `top` are all of a `Sequential`: errors name the layer. A gradient that is taken `once` gives up
    what each step has kept for it as soon as the step is done.
    """
    backwards: list[Callable] = []
    try:
        for step in steps:
            spared = not backwards and not need_x and isinstance(step, Run)
            x, backward = step.forward(x, need_x=False) if spared else step.forward(x)  # type: ignore[call-arg]
            backwards.append(backward)
    except Exception as error:
        if top:
            named(error, steps, len(backwards), np.shape(x))
        raise

    def backward_all(grad_y: np.ndarray) -> np.ndarray:
        left = backwards if once else list(backwards)
        while left:
            grad_y = left.pop()(grad_y)
        return grad_y

    return x, backward_all
