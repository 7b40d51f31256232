"""How a convolution's input lies before the kernels: padded planes, stride phases, shifted copies, or as it is.

Kernels for direct convolution number output pixels along rows with the input's padded row pitch WP, q = oy*WP + ox. The
pixel that term k = (c, ky, kx) needs for output q is then at `offsets[k] + q`: the offsets are an indirection buffer
(M. Dukhan, The indirect convolution algorithm, 2019, section 3), made once for all pixels. For a stride, a plane is
split into its stride phases, of which phase a holds the rows i*stride + a, and the columns likewise, so that the pixels
of neighbouring outputs are neighbours.

A padded row ends with WP - OW cells that are no pixels. Where those cost more than copying, there is a copy for each
column of the kernel instead of each horizontal phase, shifted so that WP is OW.

Functions of integers in the part of Python that Numba compiles as well, as in `axes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._geometry.axes import Axis
from fastconv._geometry.conv import Conv, reduction_length
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import jitable, planned

MOST_OVERLAPPED = 16  # terms of so short sums that the processor works on several of them at a time
IN_PLACE, PADDED, STRIDE_PHASES, SHIFTED_COPIES, UNPADDED = range(5)


class Layout(NamedTuple):
    """Where the pixels of an image lie.

    Attributes:
        kind: IN_PLACE, the image as it is, which needs no padding; PADDED, in one plane with zeros around it;
            STRIDE_PHASES, that plane split; SHIFTED_COPIES, for each column of the kernel; UNPADDED, the image as it
            is, for kernels that leave out the taps that lie in the padding.
        last: whether the channels of a pixel lie side by side, as in NHWC order.
        HP: rows of a plane.
        WP: columns of a plane: the padded row pitch, in cells of all channels where they are `last`.
        vertical: stride phases of rows.
        horizontal: stride phases of columns.
        copies: planes for each vertical phase: horizontal phases, or shifted copies.
        cells: cells of one channel, in all its planes.
        by_rows: whether output pixels are computed row by row, and not along the padded rows.
    """

    kind: int
    last: bool
    HP: int
    WP: int
    vertical: int
    horizontal: int
    copies: int
    cells: int
    by_rows: bool


@jitable
def _is_padded(axis: Axis) -> bool:
    return axis.before != 0 or axis.after != 0  # negative padding leaves out pixels


@jitable
def is_padded(conv: Conv) -> bool:
    """Whether the images have padding, or negative padding, which leaves out pixels."""
    return _is_padded(conv.rows) or _is_padded(conv.columns)


@jitable
def wide_rows(conv: Conv, shifted: bool, dots: bool) -> tuple[Layout, float]:
    """The layout for pixels along padded rows, and an estimate of the cycles that an image takes with it.

    For a convolution, or for `dots`, the dot products of the weight gradient.
    """
    rows, columns = conv.rows, conv.columns
    sy, sx = rows.stride, columns.stride
    padded = is_padded(conv)
    HP = ceil_div(rows.before + rows.size + rows.after, sy)
    WP = columns.out if shifted else ceil_div(columns.before + columns.size + columns.after, sx)
    copies = columns.kernel if shifted else sx
    kind = SHIFTED_COPIES if shifted else STRIDE_PHASES if sy * sx > 1 else PADDED if padded else IN_PLACE
    cells = sy * copies * HP * WP
    # half a cycle for a term of a vector, 1.5 to begin and end a sum
    K = reduction_length(conv)
    vector, a_row = conv.OC * (K / 2 + 1.5), 12
    vectors = ceil_div(columns.out, 16)
    by_rows = vector * (rows.out * vectors) * (1.25 if vectors == 1 else 1.0)  # more loads than multiply-adds
    if conv.OC == conv.groups and K > MOST_OVERLAPPED and not dots:
        # one row of sums: as many loads as multiply-adds, and four vectors side by side until one of them is done
        vector, a_row = conv.OC * (K + 1.5), 36
        by_rows = vector * (rows.out * vectors) * max(1.0, 4 / ceil_div(columns.out, HOST.vector_bytes // 4))
    stored = 0 if WP == columns.out else a_row * conv.OC * rows.out  # rows copied from the workspace
    along = vector * ceil_div((rows.out - 1) * WP + columns.out, 16) + stored
    copied = 0 if kind == IN_PLACE else conv.C * sy * copies * HP
    store = 1 if conv.C * cells < 2**17 else 6  # of a vector, to the L2 cache or beyond
    cycles = min(along, by_rows) + copied * (4 + store * WP / 16)
    layout = Layout(kind, False, HP, WP, sy, sx, copies, cells, WP != columns.out and by_rows < along)
    return layout, cycles


@jitable
def chosen(conv: Conv, dots: bool) -> Layout:
    """The layout for pixels along padded rows; of shifted copies where they take a tenth fewer cycles, by estimate.

    The tenth is for their memory. `dots` as for `wide_rows`.
    """
    plain, cycles = wide_rows(conv, False, dots)
    shifted, cycles_of_shifted = wide_rows(conv, True, dots)
    return plain if plain.WP == conv.columns.out or cycles <= 1.1 * cycles_of_shifted else shifted


@jitable
def by_pixel(conv: Conv, last: bool) -> Layout:
    """The layout for kernels that take each pixel where it lies: one padded plane, whatever the stride."""
    rows, columns = conv.rows, conv.columns
    HP, WP = rows.before + rows.size + rows.after, columns.before + columns.size + columns.after
    return Layout(PADDED if is_padded(conv) else IN_PLACE, last, HP, WP, 1, 1, 1, HP * WP, False)


@jitable
def unpadded(conv: Conv, last: bool) -> Layout:
    """The layout of images that are read as they are, without the taps in the padding."""
    H, W = conv.rows.size, conv.columns.size
    return Layout(UNPADDED, last, H, W, 1, 1, 1, H * W, False)


@jitable
def as_it_is(conv: Conv) -> Layout:
    """The layout of images that are read as they are, with zeros for what lies in the padding."""
    H, W = conv.rows.size, conv.columns.size
    return Layout(IN_PLACE, False, H, W, 1, 1, 1, H * W, False)


@jitable
def copied(layout: Layout) -> bool:
    """Whether the input is copied into planes."""
    return layout.kind != IN_PLACE and layout.kind != UNPADDED


@planned
def column_shifts(columns: Axis, layout: Layout) -> np.ndarray:
    """The input column in front of each copy of a plane; j columns on it is shift + j * stride: int64."""
    step = columns.dilation if layout.kind == SHIFTED_COPIES else 1
    shifts = np.empty(layout.copies, np.int64)
    for copy in range(layout.copies):
        shifts[copy] = copy * step - columns.before
    return shifts


@planned
def tap_windows(conv: Conv, layout: Layout) -> np.ndarray:
    """The offset of tap (ky, kx) inside a channel's planes: (KH*KW,) uint64."""
    rows, columns = conv.rows, conv.columns
    offsets = np.empty(rows.kernel * columns.kernel, np.uint64)
    for ky in range(rows.kernel):
        i, a = divmod(ky * rows.dilation, layout.vertical)
        for kx in range(columns.kernel):
            j, b = divmod(kx * columns.dilation, layout.horizontal)
            if layout.kind == SHIFTED_COPIES:
                j, b = 0, kx
            offsets[ky * columns.kernel + kx] = ((a * layout.copies + b) * layout.HP + i) * layout.WP + j
    return offsets


@planned
def term_offsets(conv: Conv, layout: Layout) -> np.ndarray:
    """The offset of term (c, ky, kx), (ky, kx, c) with channels last, from its group's first channel: (K,) uint64."""
    windows, channels = tap_windows(conv, layout), conv.C // conv.groups
    offsets = np.empty(channels * windows.size, np.uint64)
    # loops, which compile faster than broadcasting
    for tap in range(windows.size):
        for c in range(channels):
            if layout.last:
                offsets[tap * channels + c] = np.int64(windows[tap]) * conv.C + c
            else:
                offsets[c * windows.size + tap] = np.int64(windows[tap]) + c * layout.cells
    return offsets


@planned
def pixel_cells(conv: Conv, layout: Layout) -> np.ndarray:
    """The cell of every output pixel: (OH * OW,) uint64."""
    rows, columns, cell = conv.rows, conv.columns, conv.C if layout.last else 1
    down, across = rows.stride // layout.vertical * layout.WP * cell, columns.stride // layout.horizontal * cell
    cells = np.empty(rows.out * columns.out, np.uint64)
    for oy in range(rows.out):
        cells[oy * columns.out : (oy + 1) * columns.out] = np.arange(columns.out) * across + oy * down
    return cells


@jitable
def group_step(conv: Conv, layout: Layout) -> int:
    """The distance of the first channels of two groups."""
    return conv.C // conv.groups * (1 if layout.last else layout.cells)


@planned
def channel_starts(C: int, OC: int, groups: int, taps: int) -> np.ndarray:
    """Where the weights of input channel c begin, with those of its group's first output channel: (C,) uint64."""
    starts = np.empty(C, np.uint64)
    for c in range(C):
        group, inside = divmod(c, C // groups)
        starts[c] = (group * (OC // groups) * (C // groups) + inside) * taps
    return starts
