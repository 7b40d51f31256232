"""LeNet-5, as in the paper and with other activations and poolings."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import integer
from fastconv.models.arguments import class_and_channel_counts
from fastconv.nn import (
    AvgPool2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    PartialConv2d,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    init,
)

# activation, pooling, initialiser
LENET5_VARIANTS: dict[str, tuple[Callable[[], Layer], Callable[[int], Layer], Callable]] = {
    "relu_max": (ReLU, MaxPool2d, init.he_uniform),
    "sigmoid_avg": (Sigmoid, AvgPool2d, init.xavier_uniform),
    "classic": (Tanh, AvgPool2d, init.lecun_normal),
}
# the maps of S2 that each map of C3 takes: runs of three, runs of four, pairs of pairs, all
LENET5_CONNECTIONS = tuple(
    [tuple((i + j) % 6 for j in range(3)) for i in range(6)]
    + [tuple((i + j) % 6 for j in range(4)) for i in range(6)]
    + [(0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), tuple(range(6))]
)


def lenet5(
    variant: str = "relu_max", *, num_classes: int = 10, in_channels: int = 1, image_size: int = 28,
    rng: init.Rng = None, dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """LeNet-5: two convolutions with pooling, then three linear layers; 61,706 parameters, 60,850 in `"classic"`.

    Args:
        variant: `"relu_max"` (ReLU, max-pooling, He initialisation), `"sigmoid_avg"` (sigmoids, average pooling,
            Xavier initialisation), or `"classic"`: the paper's, with tanh, average pooling whose results are scaled
            and shifted by two learnt numbers a map, and the partial connections of table I; its output layer is linear.
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        image_size: 28, or 32 as in the paper: what the first convolution otherwise pads to.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: there is no such variant, or a size is out of range.

    Example:
        >>> model = lenet5(rng=0)
        >>> sum(p.value.size for p in model.parameters())
        61706

    Source: Y. LeCun et al., Gradient-based learning applied to document recognition (1998), section II.B.
    """
    one_of("lenet5", "variant", variant, LENET5_VARIANTS)
    if integer("lenet5", "image_size", image_size) not in (28, 32):
        raise ValueError(f"lenet5: image_size must be 28 or 32, got {image_size}")
    activation, pool, initialiser = LENET5_VARIANTS[variant]
    classes, channels = class_and_channel_counts("lenet5", num_classes, in_channels)
    source = init.generator(rng)
    conv = functools.partial(Conv2d, initialiser=initialiser, rng=source, dtype=dtype)
    linear = functools.partial(Linear, initialiser=initialiser, rng=source, dtype=dtype)
    first = conv(channels, 6, 5, padding=(32 - image_size) // 2)
    after_s2: list[Layer] = []
    after_s4: list[Layer] = []
    if variant == "classic":
        table = np.array([[c in maps for c in range(6)] for maps in LENET5_CONNECTIONS])
        second: Layer = PartialConv2d(table, 5, initialiser=initialiser, rng=source, dtype=dtype)
        after_s2, after_s4 = ([Conv2d(n, n, 1, groups=n, initialiser=_ones, dtype=dtype), Tanh()] for n in (6, 16))
    else:
        second = conv(6, 16, 5)
    return Sequential(
        first, activation(), pool(2), *after_s2,
        second, activation(), pool(2), *after_s4,
        Flatten(),
        linear(400, 120), activation(),
        linear(120, 84), activation(),
        linear(84, classes),
    )  # fmt: skip


def _ones(shape: init.Shape, rng: init.Rng, dtype: DTypeLike) -> np.ndarray:
    return np.ones(shape, dtype)
