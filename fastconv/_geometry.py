"""Sizes: stride, padding and dilation parsed in one place for convolution and pooling, and every shape error.

A geometry is a frozen record of integers, made by a cached pure function of integers and shared by all calls of the
same shape. The batch size is no part of it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fastconv.errors import ShapeError

Int2: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | str
Pads: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

NAMED_PADDINGS = ("valid", "same", "same_upper", "same_lower", "full")
LAYOUTS = ("NCHW", "NHWC")
# sizes stay far inside 64 bits, so that no product of two of them can wrap
LARGEST = 2**31 - 1


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
    if not least <= number <= LARGEST:
        raise ShapeError(f"{where}: {name} must be from {least} to {LARGEST}, got {number}")
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


def padding_argument(where: str, value: Any) -> str | Pads:
    """Any documented form of `padding`, checked: a name, or ((top, bottom), (left, right))."""
    if isinstance(value, str):
        if value not in NAMED_PADDINGS:
            raise ShapeError(f"{where}: padding must be integers or one of {', '.join(NAMED_PADDINGS)}, got {value!r}")
        return value
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, tuple | list) for v in value):
        if any(len(v) != 2 for v in value):
            raise ShapeError(f"{where}: padding must be ((top, bottom), (left, right)), got {value!r}")
        (top, bottom), (left, right) = value
        before = pair(where, "padding", (top, left))
        after = pair(where, "padding", (bottom, right))
        return (before[0], after[0]), (before[1], after[1])
    h, w = pair(where, "padding", value)
    return (h, h), (w, w)


def layout_argument(where: str, value: Any) -> str:
    """`layout`, checked."""
    if value not in LAYOUTS:
        raise ValueError(f"{where}: layout must be one of {', '.join(LAYOUTS)}, got {value!r}")
    return value


def _named_pads(where: str, name: str, size: int, span: int, stride: int) -> tuple[int, int]:
    """The padding of one axis that a name stands for; `span` is the extent of the dilated kernel."""
    if name == "valid":
        return 0, 0
    if name == "full":
        return span - 1, span - 1
    if name == "same":
        if stride != 1:
            raise ShapeError(
                f'{where}: padding="same" needs stride 1, got stride {stride}; "same_upper" (TensorFlow, ONNX) '
                f'and "same_lower" take any stride'
            )
        total = span - 1
    else:
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
    less, more = total // 2, total - total // 2
    return (more, less) if name == "same_lower" else (less, more)


@dataclass(frozen=True)
class Axis:
    """One spatial axis: how `out` windows of `kernel` taps lie on `size` padded pixels."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    out: int

    @property
    def padded(self) -> int:
        """The size with its padding."""
        return self.before + self.size + self.after


def _axis(
    where: str, label: str, size: int, kernel: int, stride: int, dilation: int, padding: str | tuple[int, int],
    ceil_mode: bool = False,
) -> Axis:  # fmt: skip
    if size < 1:
        raise ShapeError(f"{where}: x must have at least one pixel, its {label} is {size}")
    if kernel < 1:
        raise ShapeError(f"{where}: the kernel must have at least one pixel, its {label} is {kernel}")
    span = dilation * (kernel - 1) + 1
    before, after = _named_pads(where, padding, size, span, stride) if isinstance(padding, str) else padding
    room = before + size + after - span
    if max(span, before + size + after) > LARGEST:
        raise ShapeError(f"{where}: the padded {label} {before + size + after} or the kernel's {span} is too large")
    if room < 0:
        raise ShapeError(
            f"{where}: the kernel's {label} {span} (kernel {kernel}, dilation {dilation}) is larger than "
            f"the padded input's {label} {before + size + after} ({size} + {before} + {after})"
        )
    out = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + before:
        out -= 1  # such a window would start in the padding at the end
    # with one window the stride means nothing, and a huge one would cost phases (see ConvGeometry)
    return Axis(size, kernel, stride if out > 1 else 1, dilation, before, after, out)


@dataclass(frozen=True)
class ConvGeometry:
    """A convolution's sizes, and how its input is laid out for the kernels.

    The input is copied into padded planes of HP x WP cells. For a vertical stride s each plane is split into s phases,
    phase a holding the rows i*s + a; for a horizontal one likewise. Output pixels are numbered along "wide rows",
    q = oy*WP + ox. The pixel that tap k = (c, ky, kx) needs for output q is then at `offsets[k] + q`, for every stride
    and dilation.

    A wide row ends with WP - OW cells that are no pixels. Where those cost more than copying, planes are `unrolled`:
    one copy for each kernel column instead of each horizontal phase, shifted so that WP is OW. Kernels that take each
    pixel by itself need neither: for them planes are `whole`, without phases. Then channels may also be `last`: those
    of a cell lie side by side, as in NHWC order, and so do those of a tap among the weights.
    """

    C: int
    OC: int
    groups: int
    rows: Axis
    columns: Axis
    unrolled: bool = False
    whole: bool = False
    last: bool = False

    @property
    def taps(self) -> int:
        """The terms of one output pixel: C/groups * KH * KW."""
        return self.C // self.groups * self.rows.kernel * self.columns.kernel

    @functools.cached_property
    def in_place(self) -> bool:
        """Whether the input's planes can be read as they are: no padding, and one phase."""
        return self.steps == (1, 1) and self.pads == (0, 0, 0, 0) and not self.unrolled

    @property
    def steps(self) -> tuple[int, int]:
        """The phases that rows and columns of the input are split into: the strides, or one."""
        return (1, 1) if self.whole else (self.rows.stride, self.columns.stride)

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right)."""
        return self.rows.before, self.rows.after, self.columns.before, self.columns.after

    @functools.cached_property
    def HP(self) -> int:
        """Rows of a phase plane."""
        return -(-self.rows.padded // self.steps[0])

    @functools.cached_property
    def WP(self) -> int:
        """Columns of a phase plane."""
        return self.columns.out if self.unrolled else -(-self.columns.padded // self.steps[1])

    @functools.cached_property
    def shifts(self) -> np.ndarray:
        """The input column in front of each copy of a plane; j columns on it is shift + j * stride: int64."""
        columns = self.columns
        copies = np.arange(columns.kernel) * columns.dilation if self.unrolled else np.arange(self.steps[1])
        return copies - columns.before

    @functools.cached_property
    def plane(self) -> int:
        """Cells of one channel: all its phases."""
        return self.steps[0] * len(self.shifts) * self.HP * self.WP

    @functools.cached_property
    def wide(self) -> int:
        """Q, the cells of an output plane in wide rows; the last row ends with its last pixel."""
        return (self.rows.out - 1) * self.WP + self.columns.out

    @functools.cached_property
    def by_rows(self) -> bool:
        """Whether pixels are computed row by row, where that is estimated to take fewer cycles."""
        return self.WP != self.columns.out and self._cycles_by_rows < self._cycles_of_wide

    def _cycles(self, vectors: int) -> float:
        """Cycles to compute so many vectors of all output channels: half a cycle a term, 1.5 to begin and end a sum."""
        return self.OC * vectors * (self.taps / 2 + 1.5)

    @property
    def _cycles_by_rows(self) -> float:
        vectors = -(-self.columns.out // 16)
        starved = 1.25 if vectors == 1 else 1  # more loads than multiply-adds
        return self._cycles(self.rows.out * vectors) * starved

    @property
    def _cycles_of_wide(self) -> float:
        stored = 0 if self.WP == self.columns.out else 12 * self.OC * self.rows.out  # rows copied from the scratch
        return self._cycles(-(-self.wide // 16)) + stored

    @property
    def cycles(self) -> float:
        """An estimate of the cycles that an image takes, to choose between layouts."""
        rows = 0 if self.in_place else self.C * self.steps[0] * len(self.shifts) * self.HP
        vector = 1 if self.C * self.plane < 2**17 else 6  # a store to the L2 cache, or beyond
        return min(self._cycles_of_wide, self._cycles_by_rows) + rows * (4 + vector * self.WP / 16)

    @functools.cached_property
    def windows(self) -> np.ndarray:
        """The offset of tap (ky, kx) inside a channel's plane: (KH*KW,) uint64."""
        rows, columns = self.rows, self.columns
        dy = np.arange(rows.kernel) * rows.dilation
        dx = np.arange(columns.kernel) * columns.dilation
        copy, inside = (np.arange(columns.kernel), 0 * dx) if self.unrolled else np.divmod(dx, self.steps[1])[::-1]
        phase = (dy % self.steps[0])[:, None] * len(self.shifts) + copy
        cell = (dy // self.steps[0])[:, None] * self.WP + inside
        return (phase * (self.HP * self.WP) + cell).astype(np.uint64).ravel()

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """The offset of tap (c, ky, kx), or (ky, kx, c), from the first channel of its group: (taps,) uint64."""
        if self.last:
            return (self.windows[:, None] * np.uint64(self.C) + np.arange(self.group, dtype=np.uint64)).ravel()
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
        group, c = np.divmod(np.arange(self.C), self.C // self.groups)
        return (group * (self.OC // self.groups) * self.taps + c * len(self.windows)).astype(np.uint64)

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """The cell of every output pixel: (OH * OW,) uint64."""
        oy, ox = np.divmod(np.arange(self.rows.out * self.columns.out), self.columns.out)
        (sy, sx), (vertical, horizontal) = (self.rows.stride, self.columns.stride), self.steps
        cells = oy * (sy // vertical) * self.WP + ox * (sx // horizontal)
        return (cells * (self.C if self.last else 1)).astype(np.uint64)

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
    def turned_last(self) -> tuple[np.ndarray, np.ndarray]:
        """As `transposed.weight_rows` and `weight_terms`, for weights with channels last and taps (ky, kx, oc)."""
        per_group, channels, count = self.OC // self.groups, self.C // self.groups, len(self.windows)
        group, c = np.divmod(np.arange(self.C), channels)
        terms = np.arange(count)[::-1, None] * channels + np.arange(per_group) * self.taps
        return (group * per_group * self.taps + c).astype(np.uint64), terms.astype(np.uint64).ravel()

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
            ky, kx = np.flatnonzero(rows.phases == a)[:, None], np.flatnonzero(columns.phases == b)
            reached = offsets[:, rows.positions[ky], columns.positions[kx]]
            found.append((terms[:, ky, kx].astype(np.uint64).ravel(), reached.ravel()))
        return found

    @property
    def border_products(self) -> float:
        """How many products the input gradient, phase by phase, takes for each that is needed.

        Near the borders it multiplies zeros, which counts for an image hardly larger than the kernel.
        """
        conv = self.transposed.conv
        return conv.rows.out * conv.columns.out / (self.rows.out * self.columns.out)

    @property
    def gathered_products(self) -> float:
        """How many it takes as one convolution, whose kernel is as large as the largest phase's."""
        conv = self.transposed.conv
        return self.border_products * conv.rows.kernel * conv.columns.kernel * self.phases / len(self.windows)


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
    """The geometry of a convolution, unrolled where that is estimated to take a tenth fewer cycles, for its memory."""
    plain, unrolled = (ConvGeometry(C, OC, groups, rows, columns, unrolled) for unrolled in (False, True))
    return plain if plain.WP == columns.out or plain.cycles <= 1.1 * unrolled.cycles else unrolled


@dataclass(frozen=True)
class PoolGeometry:
    """A pooling's sizes; the axes hold kernel, stride, dilation and padding."""

    rows: Axis
    columns: Axis


def _two_axes(
    where: str, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int],
    padding: str | Pads, ceil_mode: bool = False,
) -> tuple[Axis, Axis]:  # fmt: skip
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else padding
    return (
        _axis(where, "height", size[0], kernel[0], stride[0], dilation[0], vertical, ceil_mode),
        _axis(where, "width", size[1], kernel[1], stride[1], dilation[1], horizontal, ceil_mode),
    )


@functools.lru_cache(maxsize=1024)
def _conv_geometry(
    where: str, image: tuple[int, ...], weight: tuple[int, ...], stride: tuple[int, int], padding: str | Pads,
    dilation: tuple[int, int], groups: int,
) -> ConvGeometry:  # fmt: skip
    C, H, W = image
    OC, channels, KH, KW = weight
    if OC < 1 or channels < 1:
        raise ShapeError(f"{where}: weight must have at least one channel each way, got shape {weight}")
    if C != channels * groups:
        raise ShapeError(
            f"{where}: weight has {channels} input channels per group, x has {C} channels / {groups} groups"
        )
    if OC % groups:
        raise ShapeError(f"{where}: weight has {OC} output channels, which {groups} groups do not divide")
    rows, columns = _two_axes(where, (H, W), (KH, KW), stride, dilation, padding)
    return _laid_out(C, OC, groups, rows, columns)


def conv_geometry(
    where: str, image: Sequence[int], weight: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: Any
) -> ConvGeometry:
    """The geometry of a convolution of `image` (C, H, W) with `weight` (OC, C/groups, KH, KW), all checked."""
    return _conv_geometry(
        where, tuple(image), tuple(weight), pair(where, "stride", stride, 1), padding_argument(where, padding),
        pair(where, "dilation", dilation, 1), integer(where, "groups", groups, 1),
    )  # fmt: skip


def window_geometry(
    where: str, image: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> ConvGeometry:
    """The geometry of im2col's windows over `image` (C, H, W): those of a convolution with one output channel."""
    KH, KW = pair(where, "kernel_size", kernel_size, 1)
    if image[0] < 1:
        raise ShapeError(f"{where}: x must have at least one channel, got 0")
    return conv_geometry(where, image, (1, image[0], KH, KW), stride, padding, dilation, 1)


def _check_pool_axis(where: str, label: str, axis: Axis) -> None:
    most = axis.kernel // 2
    if axis.before > most or axis.after > most:
        raise ShapeError(
            f"{where}: padding must be at most half of the kernel, got {axis.before} and {axis.after} "
            f"for a kernel of {label} {axis.kernel}"
        )
    if axis.dilation > 1 and (axis.before or axis.after):
        first = np.arange(axis.out) * axis.stride - axis.before
        taps = first[:, None] + np.arange(axis.kernel) * axis.dilation
        if not ((taps >= 0) & (taps < axis.size)).any(axis=1).all():
            raise ShapeError(f"{where}: dilation {axis.dilation} leaves a window with nothing but padding")


@functools.lru_cache(maxsize=1024)
def _pool_geometry(
    where: str, image: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], padding: str | Pads,
    dilation: tuple[int, int], ceil_mode: bool,
) -> PoolGeometry:  # fmt: skip
    rows, columns = _two_axes(where, (image[0], image[1]), kernel, stride, dilation, padding, ceil_mode)
    _check_pool_axis(where, "height", rows)
    _check_pool_axis(where, "width", columns)
    return PoolGeometry(rows, columns)


def pool_geometry(
    where: str, image: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1,
    ceil_mode: Any = False,
) -> PoolGeometry:  # fmt: skip
    """The geometry of a pooling over `image` (H, W), all checked; `stride` None is the kernel's size."""
    kernel = pair(where, "kernel_size", kernel_size, 1)
    if not isinstance(ceil_mode, bool | np.bool_):
        raise TypeError(f"{where}: ceil_mode must be True or False, got {ceil_mode!r}")
    return _pool_geometry(
        where, tuple(image), kernel, kernel if stride is None else pair(where, "stride", stride, 1),
        padding_argument(where, padding), pair(where, "dilation", dilation, 1), bool(ceil_mode),
    )  # fmt: skip
