"""How a convolution's input is laid out for the kernels: padded planes, their phases, the offsets of the taps.

Functions of integers in the part of Python that Numba compiles as well, as in `_axes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._geometry.axes import Axis


class Planes(NamedTuple):
    """The planes of one channel (see `ConvGeometry`).

    Attributes:
        HP: rows of a phase plane.
        WP: columns of a phase plane.
        steps: vertical and horizontal phases of the input: the strides, or one where planes are whole.
        copies: horizontal phases, or where `unrolled` kernel columns.
        unrolled: whether there is a plane for each kernel column.
        in_place: whether the input can be read as it is: no padding, one phase.
        cells: cells of one channel, all its planes.
        wide: Q, the cells of an output plane in wide rows; the last row ends with its last pixel.
        by_rows: whether pixels are computed row by row, where that is estimated to take fewer cycles.
        cycles: an estimate of the cycles that an image takes, to choose between layouts.
    """

    HP: int
    WP: int
    steps: tuple[int, int]
    copies: int
    unrolled: bool
    in_place: bool
    cells: int
    wide: int
    by_rows: bool
    cycles: float


def laid_out(
    C: int, OC: int, groups: int, rows: Axis, columns: Axis, unrolled: bool, whole: bool = False
) -> Planes:  # fmt: skip
    """The planes for a convolution of C channels to OC."""
    sy, sx = (1, 1) if whole else (rows.stride, columns.stride)
    HP = -(-(rows.before + rows.size + rows.after) // sy)
    WP = columns.out if unrolled else -(-(columns.before + columns.size + columns.after) // sx)
    copies = columns.kernel if unrolled else sx
    no_pads = rows.before == 0 and rows.after == 0 and columns.before == 0 and columns.after == 0
    in_place = no_pads and sy == 1 and sx == 1 and not unrolled
    cells = sy * copies * HP * WP
    wide = (rows.out - 1) * WP + columns.out
    # half a cycle for a term of a vector, 1.5 to begin and end a sum
    vector = OC * (C // groups * rows.kernel * columns.kernel / 2 + 1.5)
    vectors = -(-columns.out // 16)
    cycles_by_rows = vector * (rows.out * vectors) * (1.25 if vectors == 1 else 1.0)  # more loads than multiply-adds
    stored = 0 if WP == columns.out else 12 * OC * rows.out  # rows copied from the scratch
    cycles_of_wide = vector * -(-wide // 16) + stored
    copied = 0 if in_place else C * sy * copies * HP
    store = 1 if C * cells < 2**17 else 6  # of a vector, to the L2 cache or beyond
    cycles = min(cycles_of_wide, cycles_by_rows) + copied * (4 + store * WP / 16)
    by_rows = WP != columns.out and cycles_by_rows < cycles_of_wide
    return Planes(HP, WP, (sy, sx), copies, unrolled, in_place, cells, wide, by_rows, cycles)


def chosen(C: int, OC: int, groups: int, rows: Axis, columns: Axis) -> Planes:
    """The planes of a convolution, unrolled where that is estimated to take a tenth fewer cycles, for its memory."""
    plain = laid_out(C, OC, groups, rows, columns, False)
    unrolled = laid_out(C, OC, groups, rows, columns, True)
    return plain if plain.WP == columns.out or plain.cycles <= 1.1 * unrolled.cycles else unrolled


def column_shifts(columns: Axis, planes: Planes) -> np.ndarray:
    """The input column in front of each copy of a plane; j columns on it is shift + j * stride: int64."""
    step = columns.dilation if planes.unrolled else 1
    return np.arange(planes.copies) * step - columns.before


def tap_windows(rows: Axis, columns: Axis, planes: Planes) -> np.ndarray:
    """The offset of tap (ky, kx) inside a channel's planes: (KH*KW,) uint64."""
    offsets = np.empty(rows.kernel * columns.kernel, np.uint64)
    for ky in range(rows.kernel):
        i, a = divmod(ky * rows.dilation, planes.steps[0])
        for kx in range(columns.kernel):
            j, b = (0, kx) if planes.unrolled else divmod(kx * columns.dilation, planes.steps[1])
            offsets[ky * columns.kernel + kx] = ((a * planes.copies + b) * planes.HP + i) * planes.WP + j
    return offsets


def channel_starts(C: int, OC: int, groups: int, T: int) -> np.ndarray:
    """Where the weights of input channel c begin, with those of its group's first output channel: (C,) uint64.

    T is the number of taps of one channel.
    """
    starts = np.empty(C, np.uint64)
    for c in range(C):
        group, inside = divmod(c, C // groups)
        starts[c] = (group * (OC // groups) * (C // groups) + inside) * T
    return starts
