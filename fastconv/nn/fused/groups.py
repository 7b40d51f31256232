"""Which layers become one stage of a fused network: convolutions and linear layers, with what follows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from fastconv.kernels.fused import records as kinds
from fastconv.nn.activation import ReLU, Sigmoid, Tanh
from fastconv.nn.base import Layer
from fastconv.nn.conv import Conv2d
from fastconv.nn.linear import Flatten, Linear
from fastconv.nn.pool import AvgPool2d, MaxPool2d

ACTIVATIONS: dict[type, int] = {ReLU: kinds.RELU, Sigmoid: kinds.SIGMOID, Tanh: kinds.TANH}
POOLS: dict[type, int] = {MaxPool2d: kinds.MAX, AvgPool2d: kinds.AVERAGE}
KINDS = (Conv2d, Linear, Flatten, *ACTIVATIONS, *POOLS)


class Declined(Exception):
    """Why a run of layers is not a fused network."""


@dataclasses.dataclass
class Group:
    """The layers of a stage: a convolution or linear layer, with the activation and the pooling that follow it.

    Attributes:
        main: the layer with the parameters.
        flattened: whether its input is flattened first.
        activation: one of the kernels' numbers.
        pool: the layer, or None.
    """

    main: Conv2d | Linear
    flattened: bool
    activation: int = kinds.NONE
    pool: MaxPool2d | AvgPool2d | None = None


def groups(layers: Sequence[Layer]) -> tuple[list[Group], bool]:
    """The layers in groups that are computed together, and whether the result is flattened after them."""
    found: list[Group] = []
    fresh = True  # whether an activation or a pooling may still join the last group
    for layer in layers:
        last = found[-1] if found else None
        if isinstance(layer, Conv2d | Linear):
            found.append(Group(layer, flattened=not fresh))
        elif type(layer) is Flatten:
            fresh = False
            continue
        elif last and type(layer) is ReLU and type(last.pool) is MaxPool2d and last.activation == kinds.NONE and fresh:
            last.activation = kinds.RELU  # the same before the largest is taken
        elif last is None or not fresh or last.pool is not None:
            raise Declined(f"{layer!r} does not follow a convolution or linear layer")
        elif type(layer) in ACTIVATIONS and last.activation == kinds.NONE:
            last.activation = ACTIVATIONS[type(layer)]
        elif isinstance(layer, MaxPool2d | AvgPool2d) and isinstance(last.main, Conv2d):
            last.pool = layer
        else:
            raise Declined(f"{layer!r} follows {last.main!r} and another layer")
        fresh = True
    if not found:
        raise Declined("there is no convolution or linear layer")
    return found, not fresh
