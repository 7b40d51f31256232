"""Well-known networks, built from layers."""

from __future__ import annotations

import functools
from collections.abc import Callable

from fastconv.models.alexnet import small_alexnet
from fastconv.models.convnet import simple_convnet
from fastconv.models.lenet import LENET5_CONNECTIONS, LENET5_VARIANTS, lenet5
from fastconv.models.lenet_tutorial import lenet5_by_hand, lenet5_tensorflow
from fastconv.models.resnet import small_resnet
from fastconv.nn import Sequential

__all__ = [
    "LENET5_CONNECTIONS",
    "LENET5_VARIANTS",
    "MODELS",
    "lenet5",
    "lenet5_by_hand",
    "lenet5_tensorflow",
    "simple_convnet",
    "small_alexnet",
    "small_resnet",
]

# What the command can train, by name.
MODELS: dict[str, Callable[..., Sequential]] = {
    "lenet5": lenet5,
    "lenet5-sigmoid": functools.partial(lenet5, "sigmoid_avg"),
    "lenet5-classic": functools.partial(lenet5, "classic"),
    "lenet5-by-hand": lenet5_by_hand,
    "lenet5-tensorflow": lenet5_tensorflow,
    "simple-convnet": simple_convnet,
    "small-alexnet": small_alexnet,
    "small-resnet": small_resnet,
}
