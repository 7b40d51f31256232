"""The sizes of a stage of a fused network, from its layers and the shape of its images; or why it is none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from fastconv._arguments.sizes import Int2, Padding
from fastconv._geometry.conv import conv_geometry
from fastconv._geometry.pool import pool_geometry
from fastconv.kernels.fused import records as kinds
from fastconv.nn.fused.groups import POOLS, Declined, Group
from fastconv.nn.linear import Linear
from fastconv.nn.pool import AvgPool2d, MaxPool2d


@dataclasses.dataclass(frozen=True)
class Windows:
    """The pooling of a stage.

    Attributes:
        kind: one of the kernels' numbers.
        KH: the rows of a window; 1 where there is no pooling.
        KW: its columns, likewise.
        size: the (H, W) of the results.
    """

    kind: int
    KH: int
    KW: int
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of a stage.

    Attributes:
        group: its layers.
        image: the (C, H, W) of its input.
        kernel: the (KH, KW) of its convolution.
        pads: rows and columns of zeros around the input: top, bottom, left, right.
        sums: the (OC, OH, OW) of its convolution's result.
        windows: its pooling.
    """

    group: Group
    image: tuple[int, int, int]
    kernel: tuple[int, int]
    pads: tuple[int, int, int, int]
    sums: tuple[int, int, int]
    windows: Windows

    @property
    def linear(self) -> bool:
        """Whether this is a linear layer."""
        return isinstance(self.group.main, Linear)

    @property
    def K(self) -> int:
        """The reduction length C*KH*KW."""
        return self.image[0] * math.prod(self.kernel)

    @property
    def padded(self) -> tuple[int, int, int]:
        """The (C, H, W) of the input with its padding."""
        (C, H, W), (top, bottom, left, right) = self.image, self.pads
        return C, H + top + bottom, W + left + right

    @property
    def output(self) -> tuple[int, int, int]:
        """The (OC, H, W) of the result."""
        return self.sums[0], *self.windows.size

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's shape as the layers have it."""
        return self.sums[:1] if self.linear else self.output

    @property
    def in_registers(self) -> bool:
        """Whether the sums of a window are pooled before they are stored.

        The activation of the largest is meant, and not the largest activation, which may be another's after rounding.
        """
        windows, simple = self.windows, self.group.activation in (kinds.NONE, kinds.RELU)
        return windows.kind == kinds.MAX and simple and (windows.KH, windows.KW) == (2, 2)

    @property
    def keeps_sums(self) -> bool:
        """Whether the gradient needs the activations before pooling."""
        return self.windows.kind == kinds.AVERAGE and self.group.activation != kinds.NONE

    @property
    def multiplications(self) -> int:
        """For one image."""
        return math.prod(self.sums) * self.K


def sizes_of(groups: Sequence[Group], shape: tuple[int, ...]) -> list[Sizes]:
    """The sizes of each stage, for images of this shape.

    Raises:
        Declined: a layer is none of a fused network's.
        ValueError: a layer does not take such images.
    """
    found = []
    for group in groups:
        found.append(_sizes(group, (math.prod(shape),) if group.flattened else shape))
        shape = found[-1].shape
    return found


def _sizes(group: Group, shape: tuple[int, ...]) -> Sizes:
    stride: Int2
    padding: Padding
    dilation: Int2
    main = group.main
    if len(shape) != (1 if isinstance(main, Linear) else 3):
        raise Declined(f"{main!r} does not take a shape of {shape}")
    if isinstance(main, Linear):
        main.output_shape((1, *shape))
        image, weight = (shape[0], 1, 1), (*main.weight.value.shape, 1, 1)
        stride, padding, dilation = 1, 0, 1
    else:
        stride, padding, dilation, channel_groups = main.options
        image, weight = (shape[0], shape[1], shape[2]), main.weight.value.shape
        if channel_groups != 1:
            raise Declined(f"{main!r} has groups")
    geometry = conv_geometry("Sequential", image, weight, stride, padding, dilation, 1)
    if geometry.phases != 1 or (geometry.rows.dilation, geometry.columns.dilation) != (1, 1):
        raise Declined(f"{main!r} has a stride or a dilation")
    top, bottom, left, right = geometry.pads
    OC, _, KH, KW = weight
    size = geometry.rows.out, geometry.columns.out
    return Sizes(group, image, (KH, KW), (top, bottom, left, right), (OC, *size), _windows(group, size))


def _windows(group: Group, size: tuple[int, int]) -> Windows:
    """The pooling of sums of a size."""
    pool = group.pool
    if pool is None:
        return Windows(kinds.NO_POOL, 1, 1, size)
    kernel, stride, padding, *rest = pool.options
    dilation, ceil_mode = rest[:2] if isinstance(pool, MaxPool2d) else (1, rest[0])
    geometry = pool_geometry("Sequential", size, kernel, stride, padding, dilation, ceil_mode)
    axes = rows, columns = geometry.rows, geometry.columns
    plain = all(
        (axis.kernel == axis.stride or axis.out == 1) and axis.dilation == 1 and axis.before == axis.after == 0
        for axis in axes
    )
    beyond = any(axis.out * axis.kernel > axis.size for axis in axes)
    if not plain or beyond or (isinstance(pool, AvgPool2d) and pool.options[5] is not None):
        raise Declined(f"{pool!r} has windows that overlap, are padded or have a divisor of their own")
    return Windows(POOLS[type(pool)], rows.kernel, columns.kernel, (rows.out, columns.out))
