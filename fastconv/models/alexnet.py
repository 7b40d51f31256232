"""AlexNet for small images."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv.models.arguments import class_and_channel_counts
from fastconv.nn import Conv2d, Dropout, Flatten, Linear, LocalResponseNorm, MaxPool2d, ReLU, Sequential, init


def small_alexnet(
    *, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.5, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """AlexNet for images of 28 x 28: five convolutions, two of them normalised, and three linear layers with dropout.

    The order of the layers, the overlapping pools (3 x 3, stride 2) and the constants of the normalisation are the
    paper's; channels and kernels are smaller. 69,466 parameters.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        dropout: the share that the first two linear layers do not see in training.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size or the share is out of range.

    Example:
        >>> model = small_alexnet(rng=0)
        >>> model(np.zeros((2, 1, 28, 28), np.float32)).shape
        (2, 10)

    Source: A. Krizhevsky et al., ImageNet classification with deep convolutional neural networks (2012), section 3.5.
    """
    classes, channels = class_and_channel_counts("small_alexnet", num_classes, in_channels)
    source = init.generator(rng)
    conv = functools.partial(Conv2d, initialiser=init.he_normal, rng=source, dtype=dtype)
    linear = functools.partial(Linear, initialiser=init.he_normal, rng=source, dtype=dtype)
    norm, pool = functools.partial(LocalResponseNorm, 5, 5 * 1e-4, 0.75, 2.0), functools.partial(MaxPool2d, 3, 2)
    return Sequential(
        conv(channels, 16, 5, padding=2), ReLU(), norm(), pool(),  # 13 x 13
        conv(16, 32, 5, padding=2), ReLU(), norm(), pool(),  # 6 x 6
        conv(32, 48, 3, padding=1), ReLU(),
        conv(48, 32, 3, padding=1), ReLU(),
        conv(32, 32, 3, padding=1), ReLU(), pool(),  # 2 x 2
        Flatten(),
        Dropout(dropout, rng=source), linear(128, 96), ReLU(),
        Dropout(dropout, rng=source), linear(96, 64), ReLU(),
        linear(64, classes),
    )  # fmt: skip
