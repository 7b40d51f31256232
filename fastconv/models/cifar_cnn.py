"""The network of Keras' example for CIFAR-10."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import Int2, integer
from fastconv.models.arguments import class_and_channel_counts, dropouts, flat_size, widths
from fastconv.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, init


def cifar_cnn(
    *, num_classes: int = 10, in_channels: int = 3, image_size: Int2 = 32, channels: tuple[int, int] = (32, 64),
    hidden: int = 512, dropout: tuple[float, float, float] = (0.25, 0.25, 0.5), rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """Keras' CNN for CIFAR-10: twice two 3 x 3 convolutions and a pool, two linear layers; 1,250,858 parameters.

    The first convolution of each two has padding, the second has none. Weights as in Keras: Glorot's uniform.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        image_size: their (H, W).
        channels: of the first two convolutions, and of the last two.
        hidden: the size of the first linear layer.
        dropout: the shares that are not seen in training after each pool and before the last layer.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size or a share is out of range, or nothing is left of an image.

    Example:
        >>> model = cifar_cnn(rng=0)
        >>> sum(p.value.size for p in model.parameters())
        1250858

    Source: Keras, examples/cifar10_cnn.py (version 2.2).
    """
    where = "cifar_cnn"
    classes, inputs = class_and_channel_counts(where, num_classes, in_channels)
    (first, second), source = widths(where, channels, 2), init.generator(rng)
    hidden = integer(where, "hidden", hidden, 1)
    conv = functools.partial(Conv2d, initialiser=init.xavier_uniform, rng=source, dtype=dtype)
    linear = functools.partial(Linear, initialiser=init.xavier_uniform, rng=source, dtype=dtype)
    rates = dropouts(where, dropout, 3, source)
    features = Sequential(
        conv(inputs, first, 3, padding=1), ReLU(), conv(first, first, 3), ReLU(), MaxPool2d(2), rates[0],
        conv(first, second, 3, padding=1), ReLU(), conv(second, second, 3), ReLU(), MaxPool2d(2), rates[1],
        Flatten(),
    )  # fmt: skip
    flat = flat_size(where, features, inputs, image_size)
    return Sequential(*features, linear(flat, hidden), ReLU(), rates[2], linear(hidden, classes))
