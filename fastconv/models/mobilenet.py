"""A small MobileNet."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv.models.arguments import class_and_channel_counts, widths
from fastconv.nn import BatchNorm2d, Conv2d, Flatten, GlobalAvgPool2d, Layer, Linear, ReLU, Sequential, init


def mobilenet_small(
    *, num_classes: int = 10, in_channels: int = 3, channels: tuple[int, ...] = (32, 64, 128, 128, 256, 256),
    rng: init.Rng = None, dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """The first MobileNet, small, for images of any size such as 32 x 32; 138,218 parameters.

    A 3 x 3 convolution, a depthwise separable block for each of `channels` (a 3 x 3 convolution of each channel for
    itself and a 1 x 1 convolution, each with batch normalisation and ReLU), the mean of every plane, and a linear
    layer. A block with more channels than the one before halves the image.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        channels: of each block; the first convolution has as many as the first of them.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size is out of range.

    Example:
        >>> model = mobilenet_small(rng=0)
        >>> model(np.zeros((2, 3, 32, 32), np.float32)).shape
        (2, 10)

    Source: A. G. Howard et al., MobileNets: efficient convolutional neural networks (2017), section 3.
    """
    classes, inputs = class_and_channel_counts("mobilenet_small", num_classes, in_channels)
    maps, source = widths("mobilenet_small", channels), init.generator(rng)
    conv = functools.partial(Conv2d, bias=False, initialiser=init.he_normal, rng=source, dtype=dtype)

    def normalised(layer: Conv2d, OC: int) -> list[Layer]:
        return [layer, BatchNorm2d(OC, dtype=dtype), ReLU()]

    layers = normalised(conv(inputs, maps[0], 3, 1, 1), maps[0])
    for C, OC in zip([maps[0], *maps], maps):
        layers += normalised(conv(C, C, 3, 2 if OC > C else 1, 1, groups=C), C)
        layers += normalised(conv(C, OC, 1), OC)
    last = Linear(maps[-1], classes, initialiser=init.he_normal, rng=source, dtype=dtype)
    return Sequential(*layers, GlobalAvgPool2d(), Flatten(), last)
