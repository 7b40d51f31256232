"""Sizes of a transposed convolution: those of the convolution whose input gradient it is.

Functions of integers are in the part of Python that Numba compiles as well, as in `_axes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastconv._arguments.sizes import (
    FULL,
    LARGEST,
    NAMED_PADDINGS,
    NUMBERS,
    VALID,
    Margins,
    check_range,
    integer,
    padding_argument,
    pair,
)
from fastconv._geometry.axes import Axis, check_steps, conv_axes
from fastconv._geometry.conv import Conv
from fastconv._runtime.jit import jitable, planned
from fastconv.errors import ShapeError


def conv_transpose_geometry(
    where: str, image: Sequence[int], weight: Sequence[int], stride: Any, padding: Any, output_padding: Any,
    groups: Any, dilation: Any,
) -> Conv:  # fmt: skip
    """The geometry of the convolution that takes the result (OC, OH, OW) to `image` (C, H, W), all checked.

    `weight` is (C, OC/groups, KH, KW), which is how that convolution has it too.
    """
    C, H, W = image
    channels, per_group, KH, KW = weight
    return checked_conv_transpose(
        where, (C, H, W), (channels, per_group, KH, KW), pair(where, "stride", stride, 1),
        padding_argument(where, padding), pair(where, "output_padding", output_padding),
        integer(where, "groups", groups, 1), pair(where, "dilation", dilation, 1),
    )  # fmt: skip


@planned
def checked_conv_transpose(
    where: str, image: tuple[int, int, int], weight: tuple[int, int, int, int], stride: tuple[int, int],
    margins: Margins, output_padding: tuple[int, int], groups: int, dilation: tuple[int, int],
) -> Conv:  # fmt: skip
    """The sizes of the convolution that takes the result (OC, OH, OW) to `image` (C, H, W), all checked."""
    check_steps(where, stride, margins, dilation)
    for i in range(2):
        check_range(where, "output_padding", output_padding[i], 0)
    check_range(where, "groups", groups, 1)
    rows, columns = conv_transpose_axes(where, image, weight, stride, margins, output_padding, groups, dilation)
    return Conv(weight[1] * groups, weight[0], groups, rows, columns)


@jitable
def conv_transpose_axes(
    where: str, image: tuple[int, int, int], weight: tuple[int, int, int, int], stride: tuple[int, int],
    margins: Margins, output_padding: tuple[int, int], groups: int, dilation: tuple[int, int],
) -> tuple[Axis, Axis]:  # fmt: skip
    """The axes of the convolution that takes the result (OC, OH, OW) to `image` (C, H, W).

    Raises:
        ShapeError: the sizes do not fit.
    """
    C, H, W = image
    channels, per_group, KH, KW = weight
    if channels < 1 or per_group < 1:
        raise ShapeError("{}: weight must have at least one channel each way, got shape {}", where, weight)
    if C != channels:
        raise ShapeError("{}: weight has {} input channels, x has {}", where, channels, C)
    if C % groups:
        raise ShapeError("{}: x has {} channels, which {} groups do not divide", where, C, groups)
    name, pads = margins
    OH = _result_size(where, "height", H, KH, stride[0], dilation[0], output_padding[0], name, pads[0])
    OW = _result_size(where, "width", W, KW, stride[1], dilation[1], output_padding[1], name, pads[1])
    rows, columns = conv_axes(where, (per_group * groups, OH, OW), weight, stride, margins, dilation, groups)
    return _ending_at(rows, H), _ending_at(columns, W)


@jitable
def _ending_at(axis: Axis, out: int) -> Axis:
    # output_padding from the stride on: windows would fit into it, which do not belong to any pixel of x
    return Axis(axis.size, axis.kernel, axis.stride, axis.dilation, axis.before, axis.after, out)


@jitable
def _result_size(
    where: str, label: str, size: int, kernel: int, stride: int, dilation: int, extra: int, name: int,
    pads: tuple[int, int],
) -> int:  # fmt: skip
    if size < 1:
        raise ShapeError("{}: x must have at least one pixel, its {} is {}", where, label, size)
    if kernel < 1:
        raise ShapeError("{}: the kernel must have at least one pixel, its {} is {}", where, label, kernel)
    if extra > 0 and extra >= max(stride, dilation):
        raise ShapeError(
            "{}: output_padding must be smaller than the stride or the dilation, got {} for a {} of stride {} and "
            "dilation {}",
            where, extra, label, stride, dilation,
        )  # fmt: skip
    span, cut = dilation * (kernel - 1) + 1, 0
    if name == NUMBERS or name == VALID or name == FULL:
        cut = pads[0] + pads[1] if name == NUMBERS else 2 * (span - 1) if name == FULL else 0
        result = (size - 1) * stride + span + extra - cut
    else:
        if extra > 0:
            raise ShapeError(
                '{}: output_padding must be 0 with padding="{}", got {}', where, NAMED_PADDINGS[name], extra
            )
        result = size * stride
    if result < 1 or result > LARGEST:
        raise ShapeError(
            "{}: the result's {} must be from 1 to {}, got {} (x {}, stride {}, kernel {}, dilation {}, padding {}, "
            "output_padding {})",
            where, label, LARGEST, result, size, stride, kernel, dilation, cut, extra,
        )  # fmt: skip
    return result
