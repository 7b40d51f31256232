"""Well-known networks, built from layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastconv.models.alexnet import small_alexnet
from fastconv.models.cifar_cnn import cifar_cnn
from fastconv.models.convnet import simple_convnet
from fastconv.models.deep_convnet import deep_convnet
from fastconv.models.lenet import LENET5_CONNECTIONS, LENET5_VARIANTS, lenet5
from fastconv.models.lenet_tutorial import lenet5_by_hand, lenet5_tensorflow
from fastconv.models.mnist_cnn import mnist_cnn
from fastconv.models.mobilenet import mobilenet_small
from fastconv.models.resnet import small_resnet
from fastconv.models.resnet20 import resnet20
from fastconv.models.vgg import vgg_small
from fastconv.nn import Sequential

__all__ = [
    "IMAGE_SHAPES",
    "LENET5_CONNECTIONS",
    "LENET5_VARIANTS",
    "MODELS",
    "SIZED",
    "cifar_cnn",
    "deep_convnet",
    "lenet5",
    "lenet5_by_hand",
    "lenet5_tensorflow",
    "mnist_cnn",
    "mobilenet_small",
    "model_for",
    "resnet20",
    "simple_convnet",
    "small_alexnet",
    "small_resnet",
    "vgg_small",
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
    "mnist-cnn": mnist_cnn,
    "deep-convnet": deep_convnet,
    "cifar-cnn": cifar_cnn,
    "resnet20": resnet20,
    "mobilenet-small": mobilenet_small,
    "vgg-small": vgg_small,
}
# (C, H, W) of the images that each of them takes as it stands
IMAGE_SHAPES: dict[str, tuple[int, int, int]] = {
    **dict.fromkeys(MODELS, (1, 28, 28)),
    **dict.fromkeys(("cifar-cnn", "resnet20", "mobilenet-small"), (3, 32, 32)),
    "vgg-small": (3, 64, 64),
}
# those whose first linear layer follows from the size of the images
SIZED = ("simple-convnet", "mnist-cnn", "deep-convnet", "cifar-cnn", "vgg-small")


def model_for(name: str, image_shape: tuple[int, int, int], **options: Any) -> Sequential:
    """A model of MODELS for images of a shape, whose channels any of them takes, and whose size those of SIZED take.

    Args:
        name: of the model.
        image_shape: (C, H, W); a model that has one size keeps it, and its `output_shape` tells that it is another.
        options: the other arguments of the model.

    Raises:
        ValueError: an argument is out of range, or nothing is left of such an image.

    Example:
        >>> model_for("cifar-cnn", (1, 28, 28), rng=0).output_shape((64, 1, 28, 28))
        (64, 10)
    """
    size = {"image_size": image_shape[1:]} if name in SIZED else {}
    return MODELS[name](in_channels=image_shape[0], **size, **options)
