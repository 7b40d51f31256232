"""A small residual network."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv.models.arguments import class_and_channel_counts, widths
from fastconv.nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    ReLU,
    Residual,
    Sequential,
    init,
)


def small_resnet(
    *, num_classes: int = 10, in_channels: int = 1, channels: tuple[int, ...] = (8, 16, 32), rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """A residual network for images of any size: 3 x 3 convolutions, each with batch normalisation; 19,810 parameters.

    A convolution, a residual block for each of `channels`, of which all but the first halve the image, the mean of
    every plane, and a linear layer.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        channels: of each block.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size is out of range.

    Example:
        >>> model = small_resnet(rng=0)
        >>> model(np.zeros((2, 1, 28, 28), np.float32)).shape
        (2, 10)

    Source: K. He et al., Deep residual learning for image recognition (2015), section 4.2, shortcut B.
    """
    classes, inputs = class_and_channel_counts("small_resnet", num_classes, in_channels)
    maps = widths("small_resnet", channels)
    source = init.generator(rng)
    conv = functools.partial(Conv2d, bias=False, initialiser=init.he_normal, rng=source, dtype=dtype)

    def block(C: int, OC: int) -> list[Layer]:
        stride = 1 if C == OC else 2
        body = Sequential(
            conv(C, OC, 3, stride, 1), BatchNorm2d(OC, dtype=dtype), ReLU(),
            conv(OC, OC, 3, 1, 1), BatchNorm2d(OC, dtype=dtype),
        )  # fmt: skip
        shortcut = None if C == OC else Sequential(conv(C, OC, 1, stride), BatchNorm2d(OC, dtype=dtype))
        return [Residual(body, shortcut), ReLU()]

    layers: list[Layer] = [conv(inputs, maps[0], 3, 1, 1), BatchNorm2d(maps[0], dtype=dtype), ReLU()]
    for C, OC in zip([maps[0], *maps], maps):
        layers += block(C, OC)
    last = Linear(maps[-1], classes, initialiser=init.he_normal, rng=source, dtype=dtype)
    return Sequential(*layers, GlobalAvgPool2d(), Flatten(), last)
