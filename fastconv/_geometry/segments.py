"""The pixels of a row in segments that the same taps reach, and the cells of these taps: of depthwise convolution.

Functions of integers in the part of Python that Numba compiles as well, as in `axes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._geometry.axes import Axis
from fastconv._geometry.ranges import valid_range
from fastconv._runtime.jit import jitable, planned


class Segments(NamedTuple):
    """Runs of neighbouring pixels of a row, each of which the same taps of every row of the kernel reach.

    A segment has as many places in a table as the kernel has taps, of which the first ones are used, row by row of the
    kernel; so the taps of some rows follow each other. `runs_of` tells how many runs of taps a row has.

    Attributes:
        bounds: (segments + 1,) int64: the first pixel of each, and the number of pixels.
        taps: (segments, 2) int64: the first tap of a row that is inside, and the last + 1.
        cells: where taps lie in the image, from the first tap of the kernel on: uint64.
        places: where their weights lie: uint64.
        run_cells: where runs of neighbouring taps begin in the image, first all of three, then all of two: uint64.
        run_places: where their weights begin: uint64.
    """

    bounds: np.ndarray
    taps: np.ndarray
    cells: np.ndarray
    places: np.ndarray
    run_cells: np.ndarray
    run_places: np.ndarray


@jitable
def runs_of(taps: int) -> tuple[int, int]:
    """Into how many runs of three and of two a number of taps is cut, but for a single one."""
    threes = taps // 3 - (1 if taps % 3 == 1 and taps > 1 else 0)
    return threes, (taps - 3 * threes) // 2


@planned
def segments(rows: Axis, columns: Axis, channels: int) -> Segments:
    """Those of a row of images with so many channels, which are last."""
    bounds, taps, count = np.zeros(columns.out + 1, np.int64), np.empty((columns.out, 2), np.int64), 0
    for ox in range(columns.out):
        first, last = valid_range(ox * columns.stride - columns.before, columns.dilation, columns.size, columns.kernel)
        if count == 0 or taps[count - 1, 0] != first or taps[count - 1, 1] != last:
            bounds[count], taps[count, 0], taps[count, 1] = ox, first, last
            count += 1
    bounds[count] = columns.out
    KH, KW = rows.kernel, columns.kernel
    tables = np.zeros((4, count * KH * KW), np.uint64)
    for segment in range(count):
        first, last = taps[segment]
        split = first + 3 * runs_of(last - first)[0]
        one = run = segment * KH * KW
        for begin, end, step in ((first, split, 3), (split, last - 1, 2)):
            for ky in range(KH):
                for kx in range(begin, end, step):
                    tables[2, run] = (ky * rows.dilation * columns.size + kx * columns.dilation) * channels
                    tables[3, run] = (ky * KW + kx) * channels
                    run += 1
        for ky in range(KH):
            for kx in range(first, last):
                tables[0, one] = (ky * rows.dilation * columns.size + kx * columns.dilation) * channels
                tables[1, one] = (ky * KW + kx) * channels
                one += 1
    return Segments(bounds[: count + 1], taps[:count], tables[0], tables[1], tables[2], tables[3])
