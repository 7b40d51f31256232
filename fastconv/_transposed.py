"""Sizes of a transposed convolution: those of the convolution whose input gradient it is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from fastconv._geometry import LARGEST, ConvGeometry, Pads, conv_geometry, integer, padding_argument, pair
from fastconv.errors import ShapeError


def conv_transpose_geometry(
    where: str, image: Sequence[int], weight: Sequence[int], stride: Any, padding: Any, output_padding: Any,
    groups: Any, dilation: Any,
) -> ConvGeometry:  # fmt: skip
    """The geometry of the convolution that takes the result (OC, OH, OW) to `image` (C, H, W), all checked.

    `weight` is (C, OC/groups, KH, KW), which is how that convolution has it too.
    """
    return _geometry(
        where, tuple(image), tuple(weight), pair(where, "stride", stride, 1), padding_argument(where, padding),
        pair(where, "output_padding", output_padding), integer(where, "groups", groups, 1),
        pair(where, "dilation", dilation, 1),
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _geometry(
    where: str, image: tuple[int, ...], weight: tuple[int, ...], stride: tuple[int, int], padding: str | Pads,
    output_padding: tuple[int, int], groups: int, dilation: tuple[int, int],
) -> ConvGeometry:  # fmt: skip
    C, H, W = image
    channels, per_group, KH, KW = weight
    if channels < 1 or per_group < 1:
        raise ShapeError(f"{where}: weight must have at least one channel each way, got shape {weight}")
    if C != channels:
        raise ShapeError(f"{where}: weight has {channels} input channels, x has {C}")
    if C % groups:
        raise ShapeError(f"{where}: x has {C} channels, which {groups} groups do not divide")
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else padding
    result = (
        _result_size(where, "height", H, KH, stride[0], dilation[0], output_padding[0], vertical),
        _result_size(where, "width", W, KW, stride[1], dilation[1], output_padding[1], horizontal),
    )
    geometry = conv_geometry(where, (per_group * groups, *result), weight, stride, padding, dilation, groups)
    if (geometry.rows.out, geometry.columns.out) != (H, W):
        # output_padding from the stride on: windows would fit into it, which do not belong to any pixel of x
        rows, columns = (dataclasses.replace(a, out=n) for a, n in ((geometry.rows, H), (geometry.columns, W)))
        geometry = dataclasses.replace(geometry, rows=rows, columns=columns)
    return geometry


def _result_size(
    where: str, label: str, size: int, kernel: int, stride: int, dilation: int, extra: int,
    padding: str | tuple[int, int],
) -> int:  # fmt: skip
    if size < 1:
        raise ShapeError(f"{where}: x must have at least one pixel, its {label} is {size}")
    if kernel < 1:
        raise ShapeError(f"{where}: the kernel must have at least one pixel, its {label} is {kernel}")
    if extra and extra >= max(stride, dilation):
        raise ShapeError(
            f"{where}: output_padding must be smaller than the stride or the dilation, got {extra} for a {label} of "
            f"stride {stride} and dilation {dilation}"
        )
    span = dilation * (kernel - 1) + 1
    if isinstance(padding, str) and padding.startswith("same"):
        if extra:
            raise ShapeError(f'{where}: output_padding must be 0 with padding="{padding}", got {extra}')
        result, pads = size * stride, 0
    else:
        pads = {"valid": 0, "full": 2 * (span - 1)}[padding] if isinstance(padding, str) else sum(padding)
        result = (size - 1) * stride + span + extra - pads
    if not 1 <= result <= LARGEST:
        raise ShapeError(
            f"{where}: the result's {label} must be from 1 to {LARGEST}, got {result} (x {size}, stride {stride}, "
            f"kernel {kernel}, dilation {dilation}, padding {pads}, output_padding {extra})"
        )
    return result
