"""Calls on one element: checks, plans, allocation and the way into compiled code, which every call takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
from benchmarks.measure import Timed, use_threads

IMAGE, ROW = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1), np.float32)
CALLS: dict[str, Callable[[], Any]] = {
    "linear": lambda: fastconv.linear(ROW, ROW),
    "linear_backward": lambda: fastconv.linear_backward(ROW, ROW, ROW),
    "conv2d": lambda: fastconv.conv2d(IMAGE, IMAGE),
    "conv2d_backward": lambda: fastconv.conv2d_backward(IMAGE, IMAGE, IMAGE),
    "max_pool2d": lambda: fastconv.max_pool2d(IMAGE, 1),
    "avg_pool2d": lambda: fastconv.avg_pool2d(IMAGE, 1),
    "relu": lambda: fastconv.relu(IMAGE),
}


class OneElement(Timed):
    """Seconds of a call."""

    params = (tuple(CALLS),)
    param_names = ("function",)

    def setup(self, name: str) -> None:
        use_threads("all")
        CALLS[name]()

    def time_call(self, name: str) -> None:
        CALLS[name]()
