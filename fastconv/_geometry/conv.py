"""A convolution's sizes, all checked: what its plans follow from. The batch size is no part of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastconv._arguments.sizes import Margins, integer, padding_argument, pair
from fastconv._geometry.axes import Axis, check_channels, conv_axes
from fastconv._runtime.jit import jitable


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


@functools.lru_cache(maxsize=1024)
def _conv(
    where: str, image: tuple[int, int, int], weight: tuple[int, int, int, int], stride: tuple[int, int],
    margins: Margins, dilation: tuple[int, int], groups: int,
) -> Conv:  # fmt: skip
    return Conv(image[0], weight[0], groups, *conv_axes(where, image, weight, stride, margins, dilation, groups))


def conv_geometry(
    where: str, image: Sequence[int], weight: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: Any
) -> Conv:
    """The sizes of a convolution of `image` (C, H, W) with `weight` (OC, C/groups, KH, KW), all checked."""
    C, H, W = image
    OC, channels, KH, KW = weight
    return _conv(
        where, (C, H, W), (OC, channels, KH, KW), pair(where, "stride", stride, 1), padding_argument(where, padding),
        pair(where, "dilation", dilation, 1), integer(where, "groups", groups, 1),
    )  # fmt: skip


def window_geometry(
    where: str, image: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> Conv:
    """The sizes of im2col's windows over `image` (C, H, W): those of a convolution with one output channel."""
    KH, KW = pair(where, "kernel_size", kernel_size, 1)
    check_channels(where, image[0])
    return conv_geometry(where, image, (1, image[0], KH, KW), stride, padding, dilation, 1)
