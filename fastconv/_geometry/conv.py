"""A convolution's sizes, all checked: what its plans follow from. The batch size is no part of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastconv._arguments.sizes import Margins, check_range, integer, padding_argument, pair
from fastconv._geometry.axes import Axis, check_channels, check_steps, conv_axes
from fastconv._runtime.jit import jitable, planned
from fastconv.errors import ShapeError


class Conv(NamedTuple):
    """A convolution of C channels to OC along two axes, in groups."""

    C: int
    OC: int
    groups: int
    rows: Axis
    columns: Axis

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right)."""
        return self.rows.before, self.rows.after, self.columns.before, self.columns.after

    @property
    def phases(self) -> int:
        """Stride phases of the input: vertical times horizontal stride."""
        return self.rows.stride * self.columns.stride


@jitable
def taps_of(conv: Conv) -> int:
    """KH * KW."""
    return conv.rows.kernel * conv.columns.kernel


@jitable
def reduction_length(conv: Conv) -> int:
    """K = C/groups * KH * KW, the terms of one output pixel."""
    return conv.C // conv.groups * taps_of(conv)


@jitable
def pixels_of(conv: Conv) -> int:
    """OH * OW."""
    return conv.rows.out * conv.columns.out


@planned
def checked_conv(
    where: str, image: tuple[int, int, int], weight: tuple[int, int, int, int], stride: tuple[int, int],
    margins: Margins, dilation: tuple[int, int], groups: int,
) -> Conv:  # fmt: skip
    """The sizes of a convolution of `image` (C, H, W) with `weight` (OC, C/groups, KH, KW), all of them checked."""
    check_steps(where, stride, margins, dilation)
    check_range(where, "groups", groups, 1)
    rows, columns = conv_axes(where, image, weight, stride, margins, dilation, groups)
    return Conv(image[0], weight[0], groups, rows, columns)


@planned
def checked_windows(
    where: str, image: tuple[int, int, int], kernel: tuple[int, int], stride: tuple[int, int], margins: Margins,
    dilation: tuple[int, int],
) -> Conv:  # fmt: skip
    """The sizes of im2col's windows over `image` (C, H, W): those of a convolution with one output channel."""
    check_range(where, "kernel_size", min(kernel[0], kernel[1]), 1)
    check_range(where, "kernel_size", max(kernel[0], kernel[1]), 1)
    check_channels(where, image[0])
    return checked_conv(where, image, (1, image[0], kernel[0], kernel[1]), stride, margins, dilation, 1)


@planned
def checked_output(
    where: str, image: tuple[int, int, int, int], weight: tuple[int, int, int, int], stride: tuple[int, int],
    margins: Margins, dilation: tuple[int, int],
) -> tuple[int, int, int, int]:  # fmt: skip
    """The shape of the result for shapes that are arguments themselves; the groups follow from the channels."""
    for i in range(4):
        check_range(where, "input_shape", image[i], 0)
    for i in range(4):
        check_range(where, "weight_shape", weight[i], 0)
    if min(image[1], image[2], image[3]) < 1:
        raise ShapeError("{}: input_shape must have at least one channel and one pixel, got {}", where, image)
    groups = max(image[1] // max(weight[1], 1), 1)
    conv = checked_conv(where, (image[1], image[2], image[3]), weight, stride, margins, dilation, groups)
    return image[0], conv.OC, conv.rows.out, conv.columns.out


def conv_geometry(
    where: str, image: Sequence[int], weight: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: Any
) -> Conv:
    """As `checked_conv`, of arguments in any form that is documented."""
    C, H, W = image
    OC, channels, KH, KW = weight
    return checked_conv(
        where, (C, H, W), (OC, channels, KH, KW), pair(where, "stride", stride, 1), padding_argument(where, padding),
        pair(where, "dilation", dilation, 1), integer(where, "groups", groups, 1),
    )  # fmt: skip


def window_geometry(
    where: str, image: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> Conv:
    """As `checked_windows`, of arguments in any form that is documented."""
    C, H, W = image
    return checked_windows(
        where, (C, H, W), pair(where, "kernel_size", kernel_size, 1), pair(where, "stride", stride, 1),
        padding_argument(where, padding), pair(where, "dilation", dilation, 1),
    )  # fmt: skip
