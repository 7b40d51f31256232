"""Geometries of convolution and pooling: their axes, and for a convolution what its kernels take.

A geometry is a frozen record of integers, made by a cached pure function of integers and shared by all calls of the
same shape. The batch size is no part of it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv._arguments.sizes import Margins, integer, padding_argument, pair
from fastconv._geometry.axes import Axis, check_channels, conv_axes, pool_axes
from fastconv._geometry.borders import Areas, Reach, area_taps, areas, reach, whole
from fastconv._geometry.input_gradient import (
    GatheredAxis,
    backward_terms,
    border_products,
    gathered_axis,
    gathered_products,
)
from fastconv._geometry.layout import Planes, channel_starts, chosen, column_shifts, laid_out, tap_windows


@dataclass(frozen=True, eq=False)
class ConvGeometry:
    """A convolution's sizes, and how its input is laid out for the kernels.

    The input is copied into padded planes of HP x WP cells. For a vertical stride s each plane is split into s phases,
    phase a holding the rows i*s + a; for a horizontal one likewise. Output pixels are numbered along "wide rows",
    q = oy*WP + ox. The pixel that tap k = (c, ky, kx) needs for output q is then at `offsets[k] + q`, for every stride
    and dilation.

    A wide row ends with WP - OW cells that are no pixels. Where those cost more than copying, planes are `unrolled`:
    one copy for each kernel column instead of each horizontal phase, shifted so that WP is OW. Kernels that take each
    pixel by itself need neither: for them planes are `whole`, without phases. Then channels may also be `last`: those
    of a cell lie side by side, as in NHWC order, and so do those of a tap among the weights; and planes may be `bare`,
    without padding, for kernels that leave out the taps that lie there: the image itself.
    """

    C: int
    OC: int
    groups: int
    rows: Axis
    columns: Axis
    unrolled: bool = False
    whole: bool = False
    last: bool = False
    bare: bool = False

    @staticmethod
    def laid_out(C: int, OC: int, groups: int, rows: Axis, columns: Axis) -> ConvGeometry:
        """The geometry of a convolution with the planes that are estimated to take fewer cycles."""
        return ConvGeometry(C, OC, groups, rows, columns, chosen(C, OC, groups, rows, columns).unrolled)

    @property
    def taps(self) -> int:
        """The terms of one output pixel: C/groups * KH * KW."""
        return self.C // self.groups * self.rows.kernel * self.columns.kernel

    @functools.cached_property
    def planes(self) -> Planes:
        """How the planes of one channel are laid out."""
        rows, columns = self.rows, self.columns
        if self.bare:
            rows, columns = rows._replace(before=0, after=0), columns._replace(before=0, after=0)
        return laid_out(self.C, self.OC, self.groups, rows, columns, self.unrolled, self.whole)

    @property
    def in_place(self) -> bool:
        """Whether the input's planes can be read as they are: no padding, and one phase."""
        return self.planes.in_place

    @property
    def steps(self) -> tuple[int, int]:
        """The phases that rows and columns of the input are split into: the strides, or one."""
        return self.planes.steps

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right)."""
        return self.rows.before, self.rows.after, self.columns.before, self.columns.after

    @property
    def HP(self) -> int:
        """Rows of a phase plane."""
        return self.planes.HP

    @property
    def WP(self) -> int:
        """Columns of a phase plane."""
        return self.planes.WP

    @functools.cached_property
    def shifts(self) -> np.ndarray:
        """The input column in front of each copy of a plane; j columns on it is shift + j * stride: int64."""
        return column_shifts(self.columns, self.planes)

    @property
    def plane(self) -> int:
        """Cells of one channel: all its phases."""
        return self.planes.cells

    @property
    def wide(self) -> int:
        """Q, the cells of an output plane in wide rows; the last row ends with its last pixel."""
        return self.planes.wide

    @property
    def by_rows(self) -> bool:
        """Whether pixels are computed row by row, where that is estimated to take fewer cycles."""
        return self.planes.by_rows

    @functools.cached_property
    def windows(self) -> np.ndarray:
        """The offset of tap (ky, kx) inside a channel's plane: (KH*KW,) uint64."""
        return tap_windows(self.rows, self.columns, self.planes)

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """The offset of tap (c, ky, kx), or (ky, kx, c), from the first channel of its group: (taps,) uint64."""
        if self.last:
            return (self.windows[:, None] * np.uint64(self.C) + self.channel_offsets).ravel()
        return (self.channel_offsets[:, None] + self.windows).ravel()

    @functools.cached_property
    def weight_rows(self) -> np.ndarray:
        """Where the weights of output channel oc begin: (OC,) uint64."""
        return np.arange(self.OC, dtype=np.uint64) * np.uint64(self.taps)

    @functools.cached_property
    def weight_terms(self) -> np.ndarray:
        """Where tap k lies among the weights of its channel: (taps,) uint64."""
        return np.arange(self.taps, dtype=np.uint64)

    @functools.cached_property
    def channel_rows(self) -> np.ndarray:
        """Where the weights of input channel c begin, with those of its group's first output channel: (C,) uint64."""
        return channel_starts(self.C, self.OC, self.groups, len(self.windows))

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """The cell of every output pixel: (OH * OW,) uint64."""
        oy, ox = np.divmod(np.arange(self.rows.out * self.columns.out), self.columns.out)
        (sy, sx), (vertical, horizontal) = (self.rows.stride, self.columns.stride), self.steps
        cells = oy * (sy // vertical) * self.WP + ox * (sx // horizontal)
        return (cells * (self.C if self.last else 1)).astype(np.uint64)

    @functools.cached_property
    def channel_offsets(self) -> np.ndarray:
        """The offset of each channel from the first one of its group: (C/groups,) uint64."""
        return np.arange(self.C // self.groups, dtype=np.uint64) * np.uint64(1 if self.last else self.plane)

    @functools.cached_property
    def reach(self) -> Reach:
        """The pixels that each tap reaches, of bare planes."""
        return reach(self.rows, self.columns, self.C // self.groups, self.WP, self.C if self.last else 1)

    @functools.cached_property
    def areas(self) -> Areas:
        """The pixels that the same taps reach, of bare planes with channels last; all pixels, of padded whole ones."""
        if self.bare:
            return areas(self.rows, self.columns, self.C // self.groups, self.WP, self.C)
        return whole(self.rows, self.columns, self.offsets, self.WP, self.C if self.last else 1)

    @functools.cached_property
    def area_terms(self) -> int:
        """How many terms the areas of bare planes have together."""
        return area_taps(self.rows, self.columns) * (self.C // self.groups)

    @property
    def group(self) -> int:
        """The distance of the first channels of two groups."""
        return self.C // self.groups * (1 if self.last else self.plane)

    @functools.cached_property
    def plain(self) -> ConvGeometry:
        """The same convolution with planes that are not unrolled."""
        return dataclasses.replace(self, unrolled=False)

    @functools.cached_property
    def by_pixel(self) -> ConvGeometry:
        """The same convolution with whole planes."""
        return dataclasses.replace(self, unrolled=False, whole=True)

    @functools.cached_property
    def channels_last(self) -> ConvGeometry:
        """The same convolution with whole planes of which each cell holds all channels."""
        return dataclasses.replace(self, unrolled=False, whole=True, last=True)

    @functools.cached_property
    def unpadded(self) -> ConvGeometry:
        """The same convolution with bare planes, of one with whole planes."""
        return dataclasses.replace(self, bare=True)

    @property
    def phases(self) -> int:
        """Phases of the input: vertical times horizontal stride."""
        return self.rows.stride * self.columns.stride

    @functools.cached_property
    def transposed(self) -> TransposedGeometry:
        """The convolution that computes this one's input gradient from its output gradient."""
        rows, columns = gathered_axis(self.rows), gathered_axis(self.columns)
        conv = ConvGeometry.laid_out(self.OC, self.C * self.phases, self.groups, rows.axis, columns.axis)
        terms = backward_terms(self.OC // self.groups, self.taps, len(self.windows))
        return TransposedGeometry(conv, rows, columns, self.channel_rows, terms)

    @functools.cached_property
    def transposed_phases(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each phase of the stride, of the taps that reach it: where they lie among a channel's weights, offsets.

        The offsets are those of `transposed.conv`, of which each phase takes a part; both (taps,) uint64.
        """
        rows, columns, conv = self.transposed.rows, self.transposed.columns, self.transposed.conv
        offsets = conv.offsets.reshape(-1, conv.rows.kernel, conv.columns.kernel)
        terms = np.arange(len(offsets))[:, None, None] * self.taps + np.arange(len(self.windows)).reshape(
            self.rows.kernel, self.columns.kernel
        )
        found = []
        for a, b in itertools.product(range(self.rows.stride), range(self.columns.stride)):
            # from last to first, as in the one convolution: sums of few terms have the same bits
            ky, kx = np.flatnonzero(rows.phases == a)[::-1, None], np.flatnonzero(columns.phases == b)[::-1]
            reached = offsets[:, rows.positions[ky], columns.positions[kx]]
            found.append((terms[:, ky, kx].astype(np.uint64).ravel(), reached.ravel()))
        return found

    @functools.cached_property
    def border_products(self) -> float:
        """How many products the input gradient, phase by phase, takes for each that is needed."""
        return border_products(self.rows, self.columns)

    @functools.cached_property
    def gathered_products(self) -> float:
        """How many it takes as one convolution, whose kernel is as large as the largest phase's."""
        return gathered_products(self.rows, self.columns)


@dataclass(frozen=True)
class TransposedGeometry:
    """The input gradient of a convolution as a convolution with C * phases output channels.

    Attributes:
        conv: that convolution.
        rows: how its vertical axis came about.
        columns: how its horizontal axis came about.
        weight_rows: for stride 1, where the weights of each of its output channels begin: (C,) uint64.
        weight_terms: for stride 1, where its taps lie from there: uint64.
    """

    conv: ConvGeometry
    rows: GatheredAxis
    columns: GatheredAxis
    weight_rows: np.ndarray
    weight_terms: np.ndarray


@dataclass(frozen=True)
class PoolGeometry:
    """A pooling's sizes; the axes hold kernel, stride, dilation and padding."""

    rows: Axis
    columns: Axis


@functools.lru_cache(maxsize=1024)
def _conv_geometry(
    where: str, image: tuple[int, int, int], weight: tuple[int, int, int, int], stride: tuple[int, int],
    margins: Margins, dilation: tuple[int, int], groups: int,
) -> ConvGeometry:  # fmt: skip
    rows, columns = conv_axes(where, image, weight, stride, margins, dilation, groups)
    return ConvGeometry.laid_out(image[0], weight[0], groups, rows, columns)


def conv_geometry(
    where: str, image: Sequence[int], weight: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: Any
) -> ConvGeometry:
    """The geometry of a convolution of `image` (C, H, W) with `weight` (OC, C/groups, KH, KW), all checked."""
    C, H, W = image
    OC, channels, KH, KW = weight
    return _conv_geometry(
        where, (C, H, W), (OC, channels, KH, KW), pair(where, "stride", stride, 1), padding_argument(where, padding),
        pair(where, "dilation", dilation, 1), integer(where, "groups", groups, 1),
    )  # fmt: skip


def window_geometry(
    where: str, image: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> ConvGeometry:
    """The geometry of im2col's windows over `image` (C, H, W): those of a convolution with one output channel."""
    KH, KW = pair(where, "kernel_size", kernel_size, 1)
    check_channels(where, image[0])
    return conv_geometry(where, image, (1, image[0], KH, KW), stride, padding, dilation, 1)


@functools.lru_cache(maxsize=1024)
def _pool_geometry(
    where: str, image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], margins: Margins,
    dilation: tuple[int, int], ceil_mode: bool,
) -> PoolGeometry:  # fmt: skip
    return PoolGeometry(*pool_axes(where, image, kernel, stride, margins, dilation, ceil_mode))


def pool_geometry(
    where: str, image: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1,
    ceil_mode: Any = False,
) -> PoolGeometry:  # fmt: skip
    """The geometry of a pooling over `image` (H, W), all checked; `stride` None is the kernel's size."""
    kernel = pair(where, "kernel_size", kernel_size, 1)
    if not isinstance(ceil_mode, bool | np.bool_):
        raise TypeError(f"{where}: ceil_mode must be True or False, got {ceil_mode!r}")
    return _pool_geometry(
        where, (image[0], image[1]), kernel, kernel if stride is None else pair(where, "stride", stride, 1),
        padding_argument(where, padding), pair(where, "dilation", dilation, 1), bool(ceil_mode),
    )  # fmt: skip
