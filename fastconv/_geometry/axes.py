"""One spatial axis: how windows lie on its pixels, and the errors of sizes that do not fit.

Functions of integers and tuples of them in the part of Python that Numba compiles as well: Python calls them as they
are, users' jitted code calls them compiled (`_overloads`). Hence names of paddings are numbers here, and the texts of
errors are filled in when the error is raised (`errors.Formatted`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._arguments.sizes import FULL, LARGEST, NUMBERS, SAME, SAME_LOWER, VALID, Margins, check_range
from fastconv._geometry.ranges import ceil_div, valid_range
from fastconv._runtime.jit import jitable
from fastconv.errors import ShapeError


class Axis(NamedTuple):
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

    @property
    def numbers(self) -> tuple[int, int, int, int, int, int]:
        """(size, kernel, stride, dilation, before, out), as kernels take an axis."""
        return self.size, self.kernel, self.stride, self.dilation, self.before, self.out


@jitable
def named_pads(where: str, name: int, size: int, span: int, stride: int) -> tuple[int, int]:
    """The padding of one axis that a name stands for; `span` is the extent of the dilated kernel."""
    if name == VALID:
        return 0, 0
    if name == FULL:
        return span - 1, span - 1
    if name == SAME:
        if stride != 1:
            raise ShapeError(
                '{}: padding="same" needs stride 1, got stride {}; "same_upper" (TensorFlow, ONNX) '
                'and "same_lower" take any stride',
                where, stride,
            )  # fmt: skip
        total = span - 1
    else:
        total = max((ceil_div(size, stride) - 1) * stride + span - size, 0)
    less, more = total // 2, total - total // 2
    return (more, less) if name == SAME_LOWER else (less, more)


@jitable
def axis(
    where: str, label: str, size: int, kernel: int, stride: int, dilation: int, name: int, pads: tuple[int, int],
    ceil_mode: bool,
) -> Axis:  # fmt: skip
    """An axis of positive integers up to LARGEST, or an error that says what does not fit."""
    if size < 1:
        raise ShapeError("{}: x must have at least one pixel, its {} is {}", where, label, size)
    if kernel < 1:
        raise ShapeError("{}: the kernel must have at least one pixel, its {} is {}", where, label, kernel)
    span = dilation * (kernel - 1) + 1
    if span > LARGEST:
        raise ShapeError("{}: the kernel's {} {} is too large", where, label, span)
    before, after = pads if name == NUMBERS else named_pads(where, name, size, span, stride)
    padded = before + size + after
    if padded > LARGEST:
        raise ShapeError("{}: the padded {} {} is too large", where, label, padded)
    room = padded - span
    if room < 0:
        raise ShapeError(
            "{}: the kernel's {} {} (kernel {}, dilation {}) is larger than the padded input's {} {} ({} + {} + {})",
            where, label, span, kernel, dilation, label, padded, size, before, after,
        )  # fmt: skip
    out = (ceil_div(room, stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + before:
        out -= 1  # such a window would start in the padding at the end
    # with one window the stride means nothing, and a huge one would cost phases (see ConvGeometry)
    return Axis(size, kernel, stride if out > 1 else 1, dilation, before, after, out)


@jitable
def _two_axes(
    where: str, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int],
    margins: Margins, ceil_mode: bool,
) -> tuple[Axis, Axis]:  # fmt: skip
    name, pads = margins
    return (
        axis(where, "height", size[0], kernel[0], stride[0], dilation[0], name, pads[0], ceil_mode),
        axis(where, "width", size[1], kernel[1], stride[1], dilation[1], name, pads[1], ceil_mode),
    )


@jitable
def conv_axes(
    where: str, image: tuple[int, int, int], weight: tuple[int, int, int, int], stride: tuple[int, int],
    margins: Margins, dilation: tuple[int, int], groups: int,
) -> tuple[Axis, Axis]:  # fmt: skip
    """The vertical and the horizontal axis of a convolution of `image` (C, H, W) with `weight` (OC, C/groups, KH, KW).

    Raises:
        ShapeError: the sizes do not fit.
    """
    C, H, W = image
    OC, channels, KH, KW = weight
    if OC < 1 or channels < 1:
        raise ShapeError("{}: weight must have at least one channel each way, got shape {}", where, weight)
    if C != channels * groups:
        raise ShapeError(
            "{}: weight has {} input channels per group, x has {} channels / {} groups", where, channels, C, groups
        )
    if OC % groups:
        raise ShapeError("{}: weight has {} output channels, which {} groups do not divide", where, OC, groups)
    return _two_axes(where, (H, W), (KH, KW), stride, dilation, margins, False)


@jitable
def taps_window(rows: Axis, columns: Axis) -> tuple[int, ...]:
    """What the kernels of im2col take: (OH, OW, KH, KW, top, left, sy, sx, dy, dx)."""
    return (
        rows.out, columns.out, rows.kernel, columns.kernel, rows.before, columns.before, rows.stride, columns.stride,
        rows.dilation, columns.dilation,
    )  # fmt: skip


@jitable
def check_steps(where: str, stride: tuple[int, int], margins: Margins, dilation: tuple[int, int]) -> None:
    """Raise a ShapeError unless the values of these are in their range."""
    pads = margins[1]
    for i in range(2):
        check_range(where, "stride", stride[i], 1)
    for side in range(2):
        check_range(where, "padding", pads[0][side], 0)
        check_range(where, "padding", pads[1][side], 0)
    for i in range(2):
        check_range(where, "dilation", dilation[i], 1)


@jitable
def check_channels(where: str, C: int) -> None:
    """Raise a ShapeError unless there is a channel to take windows of."""
    if C < 1:
        raise ShapeError("{}: x must have at least one channel, got {}", where, C)


@jitable
def _check_pool_axis(where: str, label: str, axis: Axis) -> None:
    most = axis.kernel // 2
    if axis.before > most or axis.after > most:
        raise ShapeError(
            "{}: padding must be at most half of the kernel, got {} and {} for a kernel of {} {}",
            where, axis.before, axis.after, label, axis.kernel,
        )  # fmt: skip
    if axis.dilation > 1 and (axis.before > 0 or axis.after > 0):
        for window in range(axis.out):
            first, last = valid_range(window * axis.stride - axis.before, axis.dilation, axis.size, axis.kernel)
            if first == last:
                raise ShapeError("{}: dilation {} leaves a window with nothing but padding", where, axis.dilation)


@jitable
def pool_axes(
    where: str, image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], margins: Margins,
    dilation: tuple[int, int], ceil_mode: bool,
) -> tuple[Axis, Axis]:  # fmt: skip
    """The axes of a pooling over `image` (H, W); each window holds a pixel.

    Raises:
        ShapeError: the sizes do not fit.
    """
    rows, columns = _two_axes(where, image, kernel, stride, dilation, margins, ceil_mode)
    _check_pool_axis(where, "height", rows)
    _check_pool_axis(where, "width", columns)
    return rows, columns


@jitable
def max_window(rows: Axis, columns: Axis) -> tuple[int, ...]:
    """What the kernels of max-pooling take: (KH, KW, top, left, sy, sx, dy, dx)."""
    return (
        rows.kernel, columns.kernel, rows.before, columns.before, rows.stride, columns.stride, rows.dilation,
        columns.dilation,
    )  # fmt: skip


@jitable
def mean_window(rows: Axis, columns: Axis) -> tuple[int, ...]:
    """What the kernels of average pooling take: (KH, KW, top, left, sy, sx)."""
    return rows.kernel, columns.kernel, rows.before, columns.before, rows.stride, columns.stride


@jitable
def counts(axis: Axis, include_pad: bool) -> np.ndarray:
    """How many cells of each window of one axis count: those inside the padded image, or its pixels; (out,) int64."""
    first = np.arange(axis.out) * axis.stride - axis.before
    if include_pad:
        return np.minimum(first + axis.kernel, axis.size + axis.after) - first
    return np.minimum(first + axis.kernel, axis.size) - np.maximum(first, 0)
