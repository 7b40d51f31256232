"""The network of most first examples for MNIST."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import Int2, integer
from fastconv.models.arguments import class_and_channel_counts, dropouts, flat_size, widths
from fastconv.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, init


def mnist_cnn(
    *, num_classes: int = 10, in_channels: int = 1, image_size: Int2 = 28, channels: tuple[int, int] = (32, 64),
    hidden: int = 128, dropout: tuple[float, float] = (0.25, 0.5), rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """The CNN of PyTorch's and Keras' examples for MNIST: two 3 x 3 convolutions, a pool; 1,199,882 parameters.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        image_size: their (H, W).
        channels: of each convolution.
        hidden: the size of the first linear layer.
        dropout: the shares that are not seen in training after the pool and before the last layer.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size or a share is out of range, or nothing is left of an image.

    Example:
        >>> model = mnist_cnn(rng=0)
        >>> sum(p.value.size for p in model.parameters())
        1199882

    Source: PyTorch, examples/mnist/main.py; Keras, examples/mnist_cnn.py (version 2.2).
    """
    where = "mnist_cnn"
    classes, inputs = class_and_channel_counts(where, num_classes, in_channels)
    (first, second), source = widths(where, channels, 2), init.generator(rng)
    hidden = integer(where, "hidden", hidden, 1)
    conv = functools.partial(Conv2d, rng=source, dtype=dtype)
    linear = functools.partial(Linear, rng=source, dtype=dtype)
    after_pool, before_last = dropouts(where, dropout, 2, source)
    features = Sequential(
        conv(inputs, first, 3), ReLU(), conv(first, second, 3), ReLU(), MaxPool2d(2), after_pool, Flatten()
    )
    flat = flat_size(where, features, inputs, image_size)
    return Sequential(*features, linear(flat, hidden), ReLU(), before_last, linear(hidden, classes))
