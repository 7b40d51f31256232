"""One convolution and two linear layers."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import Int2, Padding, integer
from fastconv.models.arguments import class_and_channel_counts, flat_size
from fastconv.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, init


def simple_convnet(
    *, num_classes: int = 10, in_channels: int = 1, image_size: Int2 = 28, filters: int = 30, kernel_size: Int2 = 5,
    stride: Int2 = 1, padding: Padding = 0, hidden: int = 100, initialiser: Callable = init.normal,
    rng: init.Rng = None, dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """One convolution with ReLU and 2x2 max-pooling, then two linear layers; 433,890 parameters as it stands.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        image_size: their (H, W).
        filters: the output channels of the convolution.
        kernel_size: of the convolution.
        stride: of the convolution.
        padding: of the convolution.
        hidden: the size of the first linear layer.
        initialiser: a function of `fastconv.nn.init` for the weights; as it stands, normal with deviation 0.01.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size is out of range, or nothing is left of an image.

    Example:
        >>> model = simple_convnet(rng=0)
        >>> sum(p.value.size for p in model.parameters())
        433890
    """
    where = "simple_convnet"
    classes, channels = class_and_channel_counts(where, num_classes, in_channels)
    source = init.generator(rng)
    linear = functools.partial(Linear, initialiser=initialiser, rng=source, dtype=dtype)
    maps, hidden = integer(where, "filters", filters, 1), integer(where, "hidden", hidden, 1)
    conv = Conv2d(channels, maps, kernel_size, stride, padding, initialiser=initialiser, rng=source, dtype=dtype)
    features = Sequential(conv, ReLU(), MaxPool2d(2), Flatten())
    flat = flat_size(where, features, channels, image_size)
    return Sequential(*features, linear(flat, hidden), ReLU(), linear(hidden, classes))
