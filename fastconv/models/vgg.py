"""A small VGG."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import Int2
from fastconv.models.arguments import class_and_channel_counts, flat_size, widths
from fastconv.nn import Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, init


def vgg_small(
    *, num_classes: int = 10, in_channels: int = 3, image_size: Int2 = 64,
    channels: tuple[int, ...] = (64, 128, 256), rng: init.Rng = None, dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """The first six convolutions of VGG: pairs of 3 x 3 with a pool, then one linear layer; 1,309,258 parameters.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        image_size: their (H, W).
        channels: of each pair.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size is out of range, or nothing is left of an image.

    Example:
        >>> model = vgg_small(rng=0)
        >>> model[:-2].output_shape((16, 3, 64, 64))
        (16, 256, 8, 8)

    Source: K. Simonyan and A. Zisserman, Very deep convolutional networks (2014), section 2, configuration B.
    """
    classes, inputs = class_and_channel_counts("vgg_small", num_classes, in_channels)
    maps, source = widths("vgg_small", channels), init.generator(rng)
    conv = functools.partial(Conv2d, padding=1, initialiser=init.he_normal, rng=source, dtype=dtype)
    layers: list[Layer] = []
    for C, OC in zip([inputs, *maps], maps):
        layers += [conv(C, OC, 3), ReLU(), conv(OC, OC, 3), ReLU(), MaxPool2d(2)]
    features = Sequential(*layers, Flatten())
    flat = flat_size("vgg_small", features, inputs, image_size)
    return Sequential(*features, Linear(flat, classes, initialiser=init.he_normal, rng=source, dtype=dtype))
