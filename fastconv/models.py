"""Well-known networks, built from layers."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastconv._geometry import integer
from fastconv.nn import AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, Sigmoid, init

# activation, pooling, initialiser
LENET5_VARIANTS: dict[str, tuple[Callable[[], Layer], Callable[[int], Layer], Callable]] = {
    "relu_max": (ReLU, MaxPool2d, init.he_uniform),
    "sigmoid_avg": (Sigmoid, AvgPool2d, init.xavier_uniform),
}


def lenet5(
    variant: str = "relu_max", *, num_classes: int = 10, in_channels: int = 1, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """LeNet-5 for images of 28 x 28: two convolutions with pooling, then three linear layers; 61,706 parameters.

    Args:
        variant: `"relu_max"` (ReLU, max-pooling, He initialisation) or `"sigmoid_avg"` (sigmoids, average pooling,
            Xavier initialisation).
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: there is no such variant.

    Example:
        >>> model = lenet5(rng=0)
        >>> sum(p.value.size for p in model.parameters())
        61706

    Source: Y. LeCun et al., Gradient-based learning applied to document recognition (1998), section II.B.
    """
    if variant not in LENET5_VARIANTS:
        raise ValueError(f"lenet5: variant must be one of {', '.join(LENET5_VARIANTS)}, got {variant!r}")
    activation, pool, initialiser = LENET5_VARIANTS[variant]
    classes, channels = (
        integer("lenet5", "num_classes", num_classes, 1),
        integer("lenet5", "in_channels", in_channels, 1),
    )
    source = init.generator(rng)
    conv = functools.partial(Conv2d, initialiser=initialiser, rng=source, dtype=dtype)
    linear = functools.partial(Linear, initialiser=initialiser, rng=source, dtype=dtype)
    return Sequential(
        conv(channels, 6, 5, padding=2), activation(), pool(2),
        conv(6, 16, 5), activation(), pool(2),
        Flatten(),
        linear(400, 120), activation(),
        linear(120, 84), activation(),
        linear(84, classes),
    )  # fmt: skip


# What the command can train, by name.
MODELS: dict[str, Callable[..., Sequential]] = {
    "lenet5": lenet5,
    "lenet5-sigmoid": functools.partial(lenet5, "sigmoid_avg"),
}
