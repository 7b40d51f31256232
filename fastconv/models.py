"""Well-known networks, built from layers."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import Int2, Padding, integer, pair
from fastconv.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    PartialConv2d,
    ReLU,
    Residual,
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
    classes, channels = _sizes("lenet5", num_classes, in_channels)
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
    classes, channels = _sizes(where, num_classes, in_channels)
    source = init.generator(rng)
    linear = functools.partial(Linear, initialiser=initialiser, rng=source, dtype=dtype)
    maps, hidden = integer(where, "filters", filters, 1), integer(where, "hidden", hidden, 1)
    conv = Conv2d(channels, maps, kernel_size, stride, padding, initialiser=initialiser, rng=source, dtype=dtype)
    features = Sequential(conv, ReLU(), MaxPool2d(2), Flatten())
    flat = features.output_shape((1, channels, *pair(where, "image_size", image_size, 1)))[1]
    return Sequential(*features, linear(flat, hidden), ReLU(), linear(hidden, classes))


def lenet5_by_hand(
    *, num_classes: int = 10, in_channels: int = 1, hidden: int = 50, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """A smaller LeNet-5 without biases, as one writes it by hand, for images of 28 x 28; 5,725 parameters.

    3 x 3 kernels, ReLU, max-pooling, weights normal with deviation 0.1. `fastconv.compat.nhwc` has its layers with the
    channels last.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        hidden: the size of the first linear layer.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size is out of range.

    Example:
        >>> lenet5_by_hand(rng=0).output_shape((300, 1, 28, 28))
        (300, 10)
    """
    classes, channels = _sizes("lenet5_by_hand", num_classes, in_channels)
    hidden, source = integer("lenet5_by_hand", "hidden", hidden, 1), init.generator(rng)
    normal = functools.partial(init.normal, std=0.1)
    conv = functools.partial(Conv2d, bias=False, initialiser=normal, rng=source, dtype=dtype)
    linear = functools.partial(Linear, bias=False, initialiser=normal, rng=source, dtype=dtype)
    return Sequential(
        conv(channels, 5, 3), ReLU(), MaxPool2d(2),  # 13 x 13
        conv(5, 4, 3), ReLU(), MaxPool2d(2),  # 5 x 5
        Flatten(),
        linear(100, hidden), ReLU(),
        linear(hidden, classes),
    )  # fmt: skip


def lenet5_tensorflow(
    *, num_classes: int = 10, in_channels: int = 1, hidden: int = 512, dropout: float = 0.5, rng: init.Rng = None,
    dtype: DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """The twin of `lenet5_by_hand` that its tutorial writes with TensorFlow, for images of 28 x 28; 30,782 parameters.

    Two convolutions of one map each with padding, and a wide linear layer with dropout; weights are truncated normal
    with deviation 0.1.

    Args:
        num_classes: the size of the last layer.
        in_channels: the channels of the images.
        hidden: the size of the first linear layer.
        dropout: the share that the last linear layer does not see in training.
        rng: source of randomness: a Generator, a seed or None.
        dtype: float32 or float64.

    Raises:
        ValueError: a size or the share is out of range.

    Example:
        >>> lenet5_tensorflow(rng=0)[:6].output_shape((1000, 1, 28, 28))
        (1000, 1, 7, 7)
    """
    classes, channels = _sizes("lenet5_tensorflow", num_classes, in_channels)
    hidden, source = integer("lenet5_tensorflow", "hidden", hidden, 1), init.generator(rng)
    conv = functools.partial(Conv2d, padding="same", initialiser=init.truncated_normal, rng=source, dtype=dtype)
    linear = functools.partial(Linear, initialiser=init.truncated_normal, rng=source, dtype=dtype)
    return Sequential(
        conv(channels, 1, 5), ReLU(), MaxPool2d(2),
        conv(1, 1, 5), ReLU(), MaxPool2d(2),
        Flatten(),
        linear(49, hidden), ReLU(),
        Dropout(dropout, rng=source), linear(hidden, classes),
    )  # fmt: skip


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
    classes, channels = _sizes("small_alexnet", num_classes, in_channels)
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
    classes, inputs = _sizes("small_resnet", num_classes, in_channels)
    widths = [integer("small_resnet", "channels", n, 1) for n in channels]
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

    layers: list[Layer] = [conv(inputs, widths[0], 3, 1, 1), BatchNorm2d(widths[0], dtype=dtype), ReLU()]
    for C, OC in zip([widths[0], *widths], widths):
        layers += block(C, OC)
    last = Linear(widths[-1], classes, initialiser=init.he_normal, rng=source, dtype=dtype)
    return Sequential(*layers, GlobalAvgPool2d(), Flatten(), last)


def _sizes(where: str, num_classes: int, in_channels: int) -> tuple[int, int]:
    return integer(where, "num_classes", num_classes, 1), integer(where, "in_channels", in_channels, 1)


def _ones(shape: init.Shape, rng: init.Rng, dtype: DTypeLike) -> np.ndarray:
    return np.ones(shape, dtype)


# What the command can train, by name.
MODELS: dict[str, Callable[..., Sequential]] = {
    "lenet5": lenet5,
    "lenet5-sigmoid": functools.partial(lenet5, "sigmoid_avg"),
    "lenet5-classic": functools.partial(lenet5, "classic"),
    "lenet5-by-hand": lenet5_by_hand,
    "lenet5-tensorflow": lenet5_tensorflow,
    "simple-convnet": simple_convnet,
    "small-alexnet": small_alexnet,
    "small-resnet": small_resnet,
}
