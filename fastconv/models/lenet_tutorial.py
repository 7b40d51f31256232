"""The two small relatives of LeNet-5 of one tutorial: by hand, and with TensorFlow."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import integer
from fastconv.models.arguments import class_and_channel_counts
from fastconv.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential, init


def lenet5_by_hand(
    *, num_classes: int = 10, in_channels: int = 1, hidden: int = 50, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """A smaller LeNet-5 without biases, as one writes it by hand, for images of 28 x 28; 5,725 parameters.

    3 x 3 kernels, ReLU, max-pooling, weights normal with deviation 0.1. `fastconv.compat.nhwc` has its layers with the
    channels last.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        hidden: the size of the first linear layer.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size is out of range.

    Example:
        >>> lenet5_by_hand(rng=0).output_shape((300, 1, 28, 28))
        (300, 10)
    """
    classes, channels = class_and_channel_counts("lenet5_by_hand", num_classes, in_channels)
    hidden, source = integer("lenet5_by_hand", "hidden", hidden, 1), init.generator(rng)
    normal = functools.partial(init.normal, std=0.1)
    conv = functools.partial(Conv2d, bias=False, initialiser=normal, rng=source, dtype=dtype)
    linear = functools.partial(Linear, bias=False, initialiser=normal, rng=source, dtype=dtype)
    return Sequential(
        conv(channels, 5, 3), ReLU(), MaxPool2d(2),  # 13 x 13
        conv(5, 4, 3), ReLU(), MaxPool2d(2),  # 5 x 5
        Flatten(),
        linear(100, hidden), ReLU(),
        linear(hidden, classes),
    )  # fmt: skip


def lenet5_tensorflow(
    *, num_classes: int = 10, in_channels: int = 1, hidden: int = 512, dropout: float = 0.5, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """The twin of `lenet5_by_hand` that its tutorial writes with TensorFlow, for images of 28 x 28; 30,782 parameters.

    Two convolutions of one map each with padding, and a wide linear layer with dropout; weights are truncated normal
    with deviation 0.1.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        hidden: the size of the first linear layer.
        dropout: the share that the last linear layer does not see in training.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size or the share is out of range.

    Example:
        >>> lenet5_tensorflow(rng=0)[:6].output_shape((1000, 1, 28, 28))
        (1000, 1, 7, 7)
    """
    classes, channels = class_and_channel_counts("lenet5_tensorflow", num_classes, in_channels)
    hidden, source = integer("lenet5_tensorflow", "hidden", hidden, 1), init.generator(rng)
    conv = functools.partial(Conv2d, padding="same", initialiser=init.truncated_normal, rng=source, dtype=dtype)
    linear = functools.partial(Linear, initialiser=init.truncated_normal, rng=source, dtype=dtype)
    return Sequential(
        conv(channels, 1, 5), ReLU(), MaxPool2d(2),
        conv(1, 1, 5), ReLU(), MaxPool2d(2),
        Flatten(),
        linear(49, hidden), ReLU(),
        Dropout(dropout, rng=source), linear(hidden, classes),
    )  # fmt: skip
