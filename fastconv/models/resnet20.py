"""The residual network of 20 layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import integer
from fastconv.models.arguments import class_and_channel_counts
from fastconv.models.resnet import small_resnet
from fastconv.nn import Sequential, init


def resnet20(
    *, num_classes: int = 10, in_channels: int = 3, blocks: int = 3, width: int = 16, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """ResNet-20, for CIFAR-10's images or others of any size; 272,474 parameters.

    A convolution and three times three residual blocks, of 16, 32 and 64 channels, which the paper sums up as 0.27M
    parameters. Where the channels change, the shortcut is its B, a 1 x 1 convolution with batch normalisation, not the
    A without parameters of its CIFAR experiments: 2,752 parameters more.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        blocks: of each number of channels, the paper's n: there are 6n + 2 layers.
        width: the channels of the first blocks; the others have twice and four times as many.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size is out of range.

    Example:
        >>> model = resnet20(rng=0)
        >>> sum(p.value.size for p in model.parameters())
        272474

    Source: K. He et al., Deep residual learning for image recognition (2015), section 4.2.
    """
    classes, inputs = class_and_channel_counts("resnet20", num_classes, in_channels)
    blocks, width = integer("resnet20", "blocks", blocks, 1), integer("resnet20", "width", width, 1)
    channels = tuple(width * times for times in (1, 2, 4) for _ in range(blocks))
    return small_resnet(num_classes=classes, in_channels=inputs, channels=channels, rng=rng, dtype=dtype)
