"""A convolution for every algorithm that a plan can choose, for each of the three products."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import fastconv
from benchmarks.cases import Case, random
from benchmarks.shapes import CONV, ConvShape

SMALL = {
    shape.name: shape
    for shape in (
        ConvShape("strided", 4, 32, 56, 56, 32, 3, 2, 1),
        ConvShape("3x3 of 96", 1, 96, 18, 18, 96, 3, 1, 1),
        ConvShape("1x1", 4, 64, 28, 28, 64, 1),
        ConvShape("depthwise", 2, 64, 28, 28, 64, 3, 1, 1, 64),
        ConvShape("depthwise strided", 2, 64, 28, 28, 64, 3, 2, 1, 64),
        ConvShape("depthwise, doubled", 2, 64, 28, 28, 128, 3, 1, 1, 64),
    )
}


class Planned(NamedTuple):
    """A convolution that an algorithm computes; its name stands in asv's parameters.

    Attributes:
        algorithm: as `fastconv info --explain` names it.
        shape: the name of a shape.
        layout: of the arrays.
    """

    algorithm: str
    shape: str
    layout: str = "NCHW"

    @property
    def sizes(self) -> ConvShape:
        """The shape itself."""
        return SMALL.get(self.shape) or CONV[self.shape]


FORWARD = (
    Planned("DIRECT", "ResNet c1"),
    Planned("BY_IMAGE", "LeNet c1"),
    Planned("PACKED", "3x3 of 96"),
    Planned("PACKED", "1x1", "NHWC"),
    Planned("DEPTHWISE", "depthwise", "NHWC"),
    Planned("CHANNELWISE", "depthwise"),
    Planned("WINOGRAD", "ResNet 3x3"),
    Planned("WINOGRAD", "ResNet 3x3", "NHWC"),
)
INPUT_GRADIENT = (
    Planned("GATHERED DIRECT", "1x1"),
    Planned("GATHERED BY_IMAGE", "LeNet c1"),
    Planned("GATHERED PACKED", "3x3 of 96"),
    Planned("GATHERED WINOGRAD", "ResNet 3x3"),
    Planned("GATHERED CHANNELWISE", "depthwise"),
    Planned("CHANNELWISE", "depthwise strided"),
    Planned("PHASED", "strided"),
    Planned("SCATTERED", "LeNet c2"),
    Planned("DEPTHWISE", "depthwise", "NHWC"),
)
WEIGHT_GRADIENT = (
    Planned("WINOGRAD", "ResNet 3x3"),
    Planned("DOTS", "LeNet c1"),
    Planned("DOTS_BY_GROUP", "depthwise, doubled"),
    Planned("CHANNELWISE", "depthwise"),
    Planned("SHARDED", "LeNet c2"),
    Planned("BLOCKED", "3x3 of 96"),
    Planned("READ_IN_PLACE", "3x3 of 96", "NHWC"),
    Planned("DEPTHWISE", "depthwise", "NHWC"),
)


def names(table: tuple[Planned, ...]) -> tuple[str, ...]:
    """What stands in asv's parameters: `PACKED, 3x3 of 96, NCHW`."""
    return tuple(", ".join(row) for row in table)


class PlannedConv(Case):
    """The convolution of a row and its gradients."""

    calls = ("forward", "input_gradient", "weight_gradient")

    def __init__(self, name: str, dtype: str):
        row = Planned(*name.split(", "))
        shape = row.sizes
        arrays = (shape.input_shape, shape.weight_shape, shape.output_shape)
        arrays = tuple(random(sizes, dtype, seed) for seed, sizes in enumerate(arrays))
        if row.layout == "NHWC":
            arrays = tuple(np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in arrays)
        (self.x, self.weight, self.grad), self.layout, self.options = arrays, row.layout, shape.options

    def forward(self) -> np.ndarray:
        return fastconv.conv2d(self.x, self.weight, None, *self.options, layout=self.layout)

    def input_gradient(self) -> tuple[np.ndarray | None, ...]:
        return self._gradient((True, False, False))

    def weight_gradient(self) -> tuple[np.ndarray | None, ...]:
        return self._gradient((False, True, False))

    def _gradient(self, needs: tuple[bool, bool, bool]) -> tuple[np.ndarray | None, ...]:
        return fastconv.conv2d_backward(
            self.grad, self.x, self.weight, *self.options, layout=self.layout, needs=needs
        )  # fmt: skip
