"""Networks drawn at random: all layers, in the groups that are fused and in others, with parameters and a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.errors import ShapeError

BATCHES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33)  # around the 16 images of a block, and the 8 that are enough for one
CHANNELS = (1, 1, 2, 3, 4, 5, 7, 9, 17)
MOST_VALUES, MOST_PRODUCTS = 3000, 4_000_000  # of an image between two layers; of a layer for the batch
CLASSES = 5

Shape = tuple[int, ...]


class Doubled(nn.Layer):
    """A user's own layer."""

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Callable]:
        return 2 * x, lambda grad_y: 2 * grad_y


@dataclass
class Network:
    """A model and what it is run with.

    Attributes:
        model: a `Sequential`.
        x: the batch.
        grad: a gradient of the result.
        labels: class ids, where the result is logits.
        kind: "integers", "constant" (and integer weights) or "real".
    """

    model: nn.Sequential
    x: np.ndarray
    grad: np.ndarray
    labels: np.ndarray | None
    kind: str

    def __str__(self) -> str:
        frozen = [name for name, p in self.model.named_parameters() if not p.trainable]
        return f"{self.kind} {self.x.dtype} {self.x.shape} {shown(self.model)}" + f", frozen {frozen}" * bool(frozen)


def shown(layer: nn.Layer) -> str:
    """The layer with all of its options."""
    if isinstance(layer, nn.Sequential):
        return f"[{', '.join(map(shown, layer))}]"
    if isinstance(layer, nn.Residual):
        return f"Residual({shown(layer.body)}, {'x' if layer.shortcut is None else shown(layer.shortcut)})"
    weight = getattr(layer, "weight", None)
    shape = "" if weight is None else str(weight.value.shape)
    return f"{type(layer).__name__}{shape}{getattr(layer, 'options', '')}"


class Draw:
    """Draws layers one after another."""

    def __init__(self, rng: np.random.Generator, dtype: Any, N: int, exact: bool):
        self.rng, self.dtype, self.N, self.exact = rng, dtype, N, exact
        self.drawn: list[nn.Layer] = []  # which may be used again

    def one(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def often(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pads(self, kernel: tuple[int, int]) -> Any:
        """Padding on four sides, also as wide as the kernel and wider, or in another form."""
        if self.often(0.3):
            return self.one(0, 1, 2, "same_upper", "same_lower", "valid", "full")
        return tuple(
            (self.one(0, 0, 1, size - 1, size, size + 1), self.one(0, 0, 1, size - 1, size, size + 1, 4))
            for size in kernel
        )

    def conv(self, shape: Shape, simple: bool) -> nn.Layer:
        kernel = self.one((1, 1), (2, 2), (3, 3), (3, 3), (5, 5), (1, 3), (4, 2), (2, 5))
        options: dict[str, Any] = {"padding": self.pads(kernel), "bias": self.often(0.8), "dtype": self.dtype}
        OC = self.one(*CHANNELS)
        if not simple:
            divisors = [g for g in (1, 2, 3, shape[0]) if shape[0] % g == 0]
            options |= dict(stride=self.one(1, 2, (1, 3), 9), dilation=self.one(1, 1, 2), groups=self.one(*divisors))
            OC *= options["groups"]
        return nn.Conv2d(shape[0], OC, kernel, rng=0, **options)

    def transposed(self, shape: Shape) -> nn.Layer:
        groups = shape[0] if self.often(0.2) else 1
        return nn.ConvTranspose2d(
            shape[0], groups * self.one(1, 2, 3), self.one(1, 2, 3), self.one(1, 2), self.one(0, 1, ((0, 1), (1, 0))),
            0, groups, self.often(0.8), self.one(1, 1, 2), rng=0, dtype=self.dtype,
        )  # fmt: skip

    def partial(self, shape: Shape) -> nn.Layer:
        table = self.rng.random((self.one(2, 3), shape[0])) < 0.6
        table[0, 0] = True
        return nn.PartialConv2d(table, self.one(1, 3), self.one(1, 2), self.one(0, 1), rng=0, dtype=self.dtype)

    def pool(self, simple: bool) -> nn.Layer:
        kernel = self.one(2, 2, 2, 2, 2, (2, 1), (1, 2), (2, 4), *(() if self.exact else (3, (3, 2), (1, 3))))
        if self.often(0.6):
            return nn.MaxPool2d(kernel) if simple else self.odd_max_pool()
        if simple or self.exact:
            apart = None if simple else self.one(1, 2, 3, 4)
            return nn.AvgPool2d(kernel, apart, divisor_override=None if simple else self.one(None, 2))
        padding, include = self.one(0, 0, 1, ((0, 1), (1, 0))), self.often(0.5)
        return nn.AvgPool2d(self.one(2, 3), self.one(1, 2, 3), padding, self.often(0.5), include, self.one(None, 3))

    def odd_max_pool(self) -> nn.Layer:
        if self.often(0.5):
            return nn.MaxPool2d(self.one(2, 3, (1, 2)), self.one(1, 2, 3, 4))
        padding = self.one(0, 0, 1, ((0, 1), (1, 0)))
        return nn.MaxPool2d(
            self.one(2, 3, (3, 2)), self.one(1, 2, 3, None), padding, self.one(1, 1, 2), self.often(0.5)
        )

    def activation(self) -> nn.Layer:
        if self.exact:
            return self.one(*[nn.ReLU()] * 5, nn.LeakyReLU(0.5))
        return self.one(*[nn.ReLU()] * 4, *[nn.Sigmoid(), nn.Tanh()] * 2, nn.LeakyReLU(0.1))

    def linear(self, shape: Shape) -> nn.Layer:
        out = self.one(1, 3, 8, 16, 17, 33)
        return nn.Linear(shape[0], out, self.often(0.8), rng=0, dtype=self.dtype)

    def group(self, shape: Shape) -> list[nn.Layer]:
        """A convolution or linear layer with what may be computed together with it."""
        if len(shape) == 1:
            return [self.linear(shape)] + [self.activation()] * self.often(0.7)
        layers = [self.conv(shape, True)]
        tail = [self.activation()] * self.often(0.7) + [self.pool(self.often(0.8))] * self.often(0.5)
        return layers + (tail[::-1] if self.often(0.3) else tail)

    def other(self, shape: Shape) -> list[nn.Layer]:
        """Any other layer."""
        if self.drawn and self.often(0.2):
            return [self.one(*self.drawn)]  # if it takes such images
        anywhere: list[Callable[[], nn.Layer]] = [
            self.activation, Doubled, nn.Flatten, lambda: nn.Dropout(0.5, rng=int(self.rng.integers(99))),
            lambda: self.residual(shape), lambda: self.residual(shape),
            lambda: nn.Sequential(*self.layers(shape, 2)[0]),
        ]  # fmt: skip
        images: list[Callable[[], nn.Layer]] = [
            lambda: self.conv(shape, False), lambda: self.transposed(shape), lambda: self.pool(False),
            lambda: self.partial(shape),
        ]  # fmt: skip
        if not self.exact:
            anywhere.append(lambda: nn.Softmax(1))
            images += [nn.GlobalAvgPool2d, lambda: nn.LocalResponseNorm(self.one(1, 3, 4), 0.1)]
        if not self.exact and self.N > 1:  # one value of a channel has no variance
            images.append(
                lambda: nn.BatchNorm2d(shape[0], 0.01, self.one(0.1, None), self.often(0.8), dtype=self.dtype)
            )
        return [self.one(*anywhere, *(images * 2 if len(shape) == 3 else ()))()]

    def residual(self, shape: Shape) -> nn.Layer:
        if self.often(0.5):
            body, result = self.layers(shape, self.one(1, 2, 3))
        elif len(shape) == 1:
            body, result = [self.activation(), nn.Linear(*shape, *shape, rng=0, dtype=self.dtype)], shape
        else:
            body = [nn.Conv2d(shape[0], shape[0], 3, padding=1, rng=0, dtype=self.dtype), self.activation()]
            body, result = body * self.one(1, 1, 2) + [self.activation()], shape
        if result == shape and self.often(0.7):
            return nn.Residual(nn.Sequential(*body))
        if len(result) == 1:
            shortcut = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), result[0], rng=0, dtype=self.dtype))
            return nn.Residual(nn.Sequential(*body), shortcut)
        # whatever the body does to rows and columns, a shortcut of the same layers with other weights does as well
        return nn.Residual(nn.Sequential(*body), nn.Sequential(*map(self.twin, body)))

    def twin(self, layer: nn.Layer) -> nn.Layer:
        """A layer of the same kind and options, with parameters of its own where it has any."""
        return copy.deepcopy(layer) if layer.parameters() else layer

    def layers(self, shape: Shape, count: int) -> tuple[list[nn.Layer], Shape]:
        """About as many layers for images of a shape, and the shape of their result."""
        found: list[nn.Layer] = []
        for _ in range(20 * count):
            if len(found) >= count:
                break
            for layer in self.group(shape) if self.often(0.65) else self.other(shape):
                result = self.result(layer, shape)
                if result is None:
                    break
                found.append(layer)
                self.drawn.append(layer)
                shape = result
        return found, shape

    def result(self, layer: nn.Layer, shape: Shape) -> Shape | None:
        """The shape of the layer's result; None if it does not take such images, or is too much work."""
        try:
            result = tuple(layer.output_shape((1, *shape)))[1:]
        except (ShapeError, ValueError):
            return None
        flat = len(shape) == 1
        if flat and not isinstance(layer, nn.Linear | nn.Residual | nn.Sequential) and result != shape:
            return None
        if isinstance(layer, nn.Linear) != flat and isinstance(layer, nn.Linear):
            return None
        weights = sum(p.value.size for p in layer.parameters())
        products = weights * math.prod(result[1:]) * self.N
        return None if products > MOST_PRODUCTS or not 0 < math.prod(result) <= MOST_VALUES else result


def fill(draw: Draw, model: nn.Sequential) -> None:
    """Other parameters than the layers start with, some of them frozen."""
    rng, exact = draw.rng, draw.exact
    for p in model.parameters():
        if exact:  # mostly zeros, so that sums stay small
            fan_in = max(math.prod(p.value.shape[1:]), 1)
            keep = rng.random(p.value.shape) < (4 / fan_in if p.name == "weight" else 0.7)
            p.value[...] = rng.integers(-2, 3, p.value.shape) * keep
        elif p.name == "bias" or p.value.ndim == 1:
            p.value[...] = rng.standard_normal(p.value.shape)
        p.trainable = not draw.often(0.06)


def draw_network(seed: int) -> Network:
    """The network of a seed."""
    rng = np.random.default_rng(seed)
    kind = ("integers", "constant", "real", "real")[rng.integers(4)]
    dtype = (np.float32, np.float64)[rng.integers(2)]
    N = int(rng.choice(BATCHES))
    draw = Draw(rng, dtype, N, kind != "real")
    while True:
        draw.drawn.clear()
        sizes = [draw.one(2, 3, 5), *(draw.one(1, 4, 7, 8, 9, 12) for _ in "HW")]
        start = (draw.one(1, 5, 16, 40),) if draw.often(0.1) else tuple(sizes)
        layers, shape = draw.layers(start, draw.one(1, 2, 3, 4, 5))
        labelled = draw.often(0.5) and kind == "real"
        if labelled:
            head = nn.Linear(math.prod(shape), CLASSES, rng=0, dtype=dtype)
            layers += [nn.Flatten(), head] if len(shape) > 1 else [head]
        if layers:
            break
    model = nn.Sequential(*layers)
    fill(draw, model)
    x_shape, grad_shape = (N, *start), model.output_shape((N, *start))
    if kind == "constant":
        x, grad = np.full(x_shape, draw.one(1, 3)), np.ones(grad_shape)
    elif kind == "integers":
        x, grad = rng.integers(-4, 5, x_shape), rng.integers(-4, 5, grad_shape)
    else:
        x, grad = rng.standard_normal(x_shape), rng.standard_normal(grad_shape)
    labels = rng.integers(0, CLASSES, N) if labelled else None
    return Network(model, laid_out(draw, x.astype(dtype)), grad.astype(dtype), labels, kind)


def laid_out(draw: Draw, x: np.ndarray) -> np.ndarray:
    """The same numbers, as a user may happen to have them in memory."""
    how = draw.one("usual", "usual", "usual", "every other", "Fortran", "read-only")
    if how == "every other":
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    elif how == "Fortran":
        x = np.asfortranarray(x)
    x.flags.writeable = how != "read-only"
    return x
