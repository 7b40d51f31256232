"""Sizes: stride, padding and dilation parsed in one place for convolution and pooling, and every shape error.

A geometry is a frozen record of integers, made by a cached pure function of integers and shared by all calls of the
same shape. The batch size is no part of it.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fastconv._axes import NAMED_PADDINGS, NUMBERS, Axis, Margins, check_channels, check_range, conv_axes, pool_axes
from fastconv._planes import Planes, channel_starts, chosen, column_shifts, laid_out, tap_windows
from fastconv.errors import ShapeError

Int2: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str

LAYOUTS = ("NCHW", "NHWC")


def integer(where: str, name: str, value: Any, least: int = 0) -> int:
    """`value` as a Python int of at least `least`, or an error that names the argument."""
    if type(value) is int:
        number = value
    else:
        if isinstance(value, bool | np.bool_):
            raise TypeError(f"{where}: {name} must be an integer, got {value!r}")
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"{where}: {name} must be an integer, got {value!r}") from None
    check_range(where, name, number, least)
    return number


def pair(where: str, name: str, value: Any, least: int = 0) -> tuple[int, int]:
    """`value`, one integer or two, as two Python ints."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ShapeError(f"{where}: {name} must be one integer or two, got {value!r}")
        return integer(where, name, value[0], least), integer(where, name, value[1], least)
    number = integer(where, name, value, least)
    return number, number


def sizes(where: str, name: str, value: Any, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """A shape given as an argument: a tuple or list of non-negative integers of one of the ranks."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{where}: {name} must be a tuple of integers, got {value!r}")
    if len(value) not in ranks:
        raise ShapeError(f"{where}: {name} must have {' or '.join(map(str, ranks))} sizes, got {tuple(value)}")
    return tuple(integer(where, name, v) for v in value)


def padding_argument(where: str, value: Any) -> Margins:
    """Any documented form of `padding`, checked: the number of a name or NUMBERS and ((top, bottom), (left, right))."""
    if isinstance(value, str):
        if value not in NAMED_PADDINGS:
            raise ShapeError(f"{where}: padding must be integers or one of {', '.join(NAMED_PADDINGS)}, got {value!r}")
        return NAMED_PADDINGS.index(value), ((0, 0), (0, 0))
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, tuple | list) for v in value):
        if any(len(v) != 2 for v in value):
            raise ShapeError(f"{where}: padding must be ((top, bottom), (left, right)), got {value!r}")
        (top, bottom), (left, right) = value
        before = pair(where, "padding", (top, left))
        after = pair(where, "padding", (bottom, right))
        return NUMBERS, ((before[0], after[0]), (before[1], after[1]))
    h, w = pair(where, "padding", value)
    return NUMBERS, ((h, h), (w, w))


def layout_argument(where: str, value: Any) -> str:
    """`layout`, checked."""
    if value not in LAYOUTS:
        raise ValueError(f"{where}: layout must be one of {', '.join(LAYOUTS)}, got {value!r}")
    return value


@dataclass(frozen=True)
class ConvGeometry:
    """A convolution's sizes, and how its input is laid out for the kernels.

    The input is copied into padded planes of HP x WP cells. For a vertical stride s each plane is split into s phases,
    phase a holding the rows i*s + a; for a horizontal one likewise. Output pixels are numbered along "wide rows",
    q = oy*WP + ox. The pixel that tap k = (c, ky, kx) needs for output q is then at `offsets[k] + q`, for every stride
    and dilation.

    A wide row ends with WP - OW cells that are no pixels. Where those cost more than copying, planes are `unrolled`:
    one copy for each kernel column instead of each horizontal phase, shifted so that WP is OW.
    """

    C: int
    OC: int
    groups: int
    rows: Axis
    columns: Axis
    unrolled: bool = False

    @property
    def taps(self) -> int:
        """The terms of one output pixel: C/groups * KH * KW."""
        return self.C // self.groups * self.rows.kernel * self.columns.kernel

    @functools.cached_property
    def planes(self) -> Planes:
        """How the planes of one channel are laid out."""
        return laid_out(self.C, self.OC, self.groups, self.rows, self.columns, self.unrolled)

    @functools.cached_property
    def in_place(self) -> bool:
        """Whether the input's planes can be read as they are: no padding, stride 1."""
        return self.planes.in_place

    @functools.cached_property
    def HP(self) -> int:
        """Rows of a phase plane."""
        return self.planes.HP

    @functools.cached_property
    def WP(self) -> int:
        """Columns of a phase plane."""
        return self.planes.WP

    @functools.cached_property
    def shifts(self) -> np.ndarray:
        """The input column in front of each copy of a plane; j columns on it is shift + j * stride: int64."""
        return column_shifts(self.columns, self.planes)

    @functools.cached_property
    def plane(self) -> int:
        """Cells of one channel: all its phases."""
        return self.planes.cells

    @functools.cached_property
    def wide(self) -> int:
        """Q, the cells of an output plane in wide rows; the last row ends with its last pixel."""
        return self.planes.wide

    @functools.cached_property
    def by_rows(self) -> bool:
        """Whether pixels are computed row by row, where that is estimated to take fewer cycles."""
        return self.planes.by_rows

    @functools.cached_property
    def windows(self) -> np.ndarray:
        """The offset of tap (ky, kx) inside a channel's plane: (KH*KW,) uint64."""
        return tap_windows(self.rows, self.columns, self.planes)

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """The offset of tap (c, ky, kx) from the first channel of its group: (taps,) uint64."""
        channels = np.arange(self.C // self.groups, dtype=np.uint64) * np.uint64(self.plane)
        return (channels[:, None] + self.windows).ravel()

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
        """The cell q of every output pixel: (OH * OW,) uint64."""
        oy, ox = np.divmod(np.arange(self.rows.out * self.columns.out, dtype=np.uint64), np.uint64(self.columns.out))
        return oy * np.uint64(self.WP) + ox

    @functools.cached_property
    def plain(self) -> ConvGeometry:
        """The same convolution with planes that are not unrolled."""
        return dataclasses.replace(self, unrolled=False)

    @property
    def phases(self) -> int:
        """Phases of the input: vertical times horizontal stride."""
        return self.rows.stride * self.columns.stride

    @functools.cached_property
    def transposed(self) -> TransposedGeometry:
        """The convolution that computes this one's input gradient from its output gradient."""
        rows, columns = _transposed_axis(self.rows), _transposed_axis(self.columns)
        conv = _laid_out(self.OC, self.C * self.phases, self.groups, rows.axis, columns.axis)
        # for stride 1 the weights are used where they are, the taps of each output channel from last to first
        oc, tap = np.divmod(np.arange(self.OC // self.groups * len(self.windows)), len(self.windows))
        terms = (oc * self.taps + len(self.windows) - 1 - tap).astype(np.uint64)
        return TransposedGeometry(conv, rows, columns, self.channel_rows, terms)

    @functools.cached_property
    def gathered_products(self) -> float:
        """How many products the input gradient as that convolution takes for each that is needed.

        Near the borders it multiplies zeros, which counts for an image hardly larger than the kernel.
        """
        conv = self.transposed.conv
        gathered = conv.rows.out * conv.columns.out * conv.rows.kernel * conv.columns.kernel * self.phases
        return gathered / (self.rows.out * self.columns.out * len(self.windows))


@dataclass(frozen=True)
class TransposedAxis:
    """How one axis of the input gradient is a convolution of the output gradient, for each phase of the stride.

    Attributes:
        axis: that convolution, of stride 1; its padding may be negative, which leaves out pixels.
        first: the first cell of the padded input's phases that is computed.
        phases: for each kernel tap, the phase of the input that it reaches: int64.
        positions: for each kernel tap, the tap of the convolution that it becomes: int64.
    """

    axis: Axis
    first: int
    phases: np.ndarray
    positions: np.ndarray


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
    rows: TransposedAxis
    columns: TransposedAxis
    weight_rows: np.ndarray
    weight_terms: np.ndarray


def _transposed_axis(axis: Axis) -> TransposedAxis:
    # input cell i of phase a gets g[i - shift] * w[tap] from each tap with tap * dilation = shift * stride + a
    shifts, phases = np.divmod(np.arange(axis.kernel) * axis.dilation, axis.stride)
    spacing = max(axis.dilation // axis.stride, 1) if axis.dilation % axis.stride == 0 else 1
    most = int(shifts[-1])
    first = axis.before // axis.stride
    out = (axis.before + axis.size - 1) // axis.stride - first + 1
    before = most - first
    turned = Axis(axis.out, most // spacing + 1, 1, spacing, before, out + most - before - axis.out, out)
    return TransposedAxis(turned, first, phases, (most - shifts) // spacing)


def _laid_out(C: int, OC: int, groups: int, rows: Axis, columns: Axis) -> ConvGeometry:
    """The geometry of a convolution, with the planes that are estimated to take fewer cycles."""
    return ConvGeometry(C, OC, groups, rows, columns, chosen(C, OC, groups, rows, columns).unrolled)


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
    return _laid_out(image[0], weight[0], groups, rows, columns)


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
