"""The deep network of a book that writes its layers by hand."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import Int2, integer
from fastconv.models.arguments import class_and_channel_counts, flat_size, widths
from fastconv.nn import Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, init


def deep_convnet(
    *, num_classes: int = 10, in_channels: int = 1, image_size: Int2 = 28,
    channels: tuple[int, int, int] = (16, 32, 64), hidden: int = 50, dropout: float = 0.5, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """The book's DeepConvNet: three times two 3 x 3 convolutions and a pool, two linear layers; 123,552 parameters.

    As there, the fourth convolution has a padding of 2, so that 28 x 28 becomes 14 x 14, 8 x 8 and 4 x 4, and dropout
    follows both linear layers, the last one too. `fastconv.compat.dlfs` has the class of the book's repository, whose
    dropout scales in inference, not in training.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        image_size: their (H, W).
        channels: of each two convolutions.
        hidden: the size of the first linear layer.
        dropout: the share of the linear layers' results that is not seen in training.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size or the share is out of range, or nothing is left of an image.

    Example:
        >>> model = deep_convnet(rng=0)
        >>> model[:15].output_shape((100, 1, 28, 28))
        (100, 64, 4, 4)

    Source: K. Saito, Deep Learning from Scratch (2016), chapter 8, `deep_convnet.py`.
    """
    where = "deep_convnet"
    classes, inputs = class_and_channel_counts(where, num_classes, in_channels)
    maps, source = widths(where, channels, 3), init.generator(rng)
    hidden = integer(where, "hidden", hidden, 1)
    conv = functools.partial(Conv2d, initialiser=init.he_normal, rng=source, dtype=dtype)
    linear = functools.partial(Linear, initialiser=init.he_normal, rng=source, dtype=dtype)
    layers: list[Layer] = []
    for C, OC, padding in zip([inputs, *maps], maps, (1, 2, 1)):
        layers += [conv(C, OC, 3, padding=1), ReLU(), conv(OC, OC, 3, padding=padding), ReLU(), MaxPool2d(2)]
    features = Sequential(*layers, Flatten())
    flat = flat_size(where, features, inputs, image_size)
    return Sequential(
        *features,
        linear(flat, hidden), ReLU(), Dropout(dropout, rng=source),
        linear(hidden, classes), Dropout(dropout, rng=source),
    )  # fmt: skip
