"""Which pixels of a convolution's output are reached by which taps of the kernel with a pixel of the image.

At the other pixels a tap lies in the padding. A kernel that leaves those out multiplies none of the padding's zeros,
and the image need not be padded. Terms are a tap of the kernel and an input channel, in the order (ky, kx, c) with
channels last and (c, ky, kx) with channels first.

Functions of integers in the part of Python that Numba compiles as well, as in `axes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._geometry.axes import Axis
from fastconv._geometry.conv import Conv, reduction_length, taps_of
from fastconv._geometry.layout import Layout, term_offsets
from fastconv._geometry.ranges import valid_range
from fastconv._runtime.jit import jitable, planned


class Areas(NamedTuple):
    """Rectangles of output pixels, each of which the same taps reach.

    Attributes:
        areas: (areas, 7) int64: the first of its `terms`, how many, first and last row of pixels + 1, first and last
            column + 1, and the input cell of the first pixel's first term.
        terms: the terms of all areas: uint64.
        offsets: their cells, from the first one of their area: uint64.
        steps: the cells from one row of pixels to the next, and from one pixel to the next: (2,) int64.
    """

    areas: np.ndarray
    terms: np.ndarray
    offsets: np.ndarray
    steps: np.ndarray


@jitable
def some_tap_reaches_all(rows: Axis, columns: Axis) -> bool:
    """Whether some tap lies inside the image for every output pixel."""
    return _reaches_all(rows) and _reaches_all(columns)


@jitable
def _reaches_all(axis: Axis) -> bool:
    for tap in range(axis.kernel):
        first, last = valid_range(tap * axis.dilation - axis.before, axis.stride, axis.size, axis.out)
        if first == 0 and last == axis.out:
            return True
    return False


@jitable
def reached_pixels(axis: Axis) -> int:
    """How many output pixels each of an axis' taps reaches, all of them together; not 0."""
    total = 0
    for tap in range(axis.kernel):
        first, last = valid_range(tap * axis.dilation - axis.before, axis.stride, axis.size, axis.out)
        total += last - first
    return max(total, 1)


@planned
def tap_rectangles(conv: Conv) -> np.ndarray:
    """The rectangle of pixels that each tap reaches, of images with one channel: (taps, 7) int64.

    As `Areas.areas`, but the first term and how many are those of (tap, channel of a group). Taps that reach nothing
    are left out.
    """
    rows, columns, channels = conv.rows, conv.columns, conv.C // conv.groups
    found = np.empty((rows.kernel * columns.kernel, 7), np.int64)
    count = 0
    for ky in range(rows.kernel):
        top = ky * rows.dilation - rows.before
        first_row, last_row = valid_range(top, rows.stride, rows.size, rows.out)
        for kx in range(columns.kernel):
            left = kx * columns.dilation - columns.before
            first, last = valid_range(left, columns.stride, columns.size, columns.out)
            if first_row < last_row and first < last:
                corner = (first_row * rows.stride + top) * columns.size + first * columns.stride + left
                found[count, 0], found[count, 1] = (ky * columns.kernel + kx) * channels, channels
                found[count, 2], found[count, 3], found[count, 4], found[count, 5] = first_row, last_row, first, last
                found[count, 6] = corner
                count += 1
    return found[:count].copy()


@planned
def pixel_steps(conv: Conv, WP: int, cell: int) -> np.ndarray:
    """`Areas.steps` for rows of WP pixels of `cell` cells."""
    steps = np.empty(2, np.int64)
    steps[0], steps[1] = conv.rows.stride * WP * cell, conv.columns.stride * cell
    return steps


@planned
def _alike(axis: Axis) -> np.ndarray:
    """The runs of an axis' pixels that the same taps reach: first, last + 1, first tap, last + 1, its input pixel."""
    edges, count = np.zeros(2 * axis.kernel + 2, np.int64), 1
    edges[0] = axis.out
    for tap in range(axis.kernel):
        first, last = valid_range(tap * axis.dilation - axis.before, axis.stride, axis.size, axis.out)
        if first < last:
            edges[count], edges[count + 1] = first, last
            count += 2
    edges = np.unique(edges)  # with the 0 that is left behind the others
    found = np.empty((edges.size - 1, 5), np.int64)
    for run in range(edges.size - 1):
        start = edges[run] * axis.stride - axis.before
        begin, end = valid_range(start, axis.dilation, axis.size, axis.kernel)
        found[run, 0], found[run, 1], found[run, 2], found[run, 3] = edges[run], edges[run + 1], begin, end
        found[run, 4] = start + begin * axis.dilation if begin < end else 0
    return found


@planned
def area_terms(conv: Conv) -> int:
    """How many terms the areas that the same taps reach have together."""
    down, across = _alike(conv.rows), _alike(conv.columns)
    taps = 0
    for i in range(len(down)):
        for j in range(len(across)):
            taps += (down[i, 3] - down[i, 2]) * (across[j, 3] - across[j, 2])
    return int(taps) * (conv.C // conv.groups)


@planned
def border_areas(conv: Conv, last: bool) -> Areas:
    """The areas of images (H, W, C), or (C, H, W) unless `last`, as they are; no terms where there is only padding."""
    rows, columns, channels = conv.rows, conv.columns, conv.C // conv.groups
    plane = rows.size * columns.size
    # from one pixel to the next and from one channel to the next: cells; and terms of the weights
    across_pixel, across_channel = (conv.C, 1) if last else (1, plane)
    tap_step, channel_step = (channels, 1) if last else (1, taps_of(conv))
    down, across = _alike(rows), _alike(columns)
    found, count, area = np.empty((len(down) * len(across), 7), np.int64), 0, 0
    total = area_terms(conv)
    terms, offsets = np.empty(total, np.uint64), np.empty(total, np.uint64)
    for i in range(len(down)):
        for j in range(len(across)):
            found[area, 0] = count
            found[area, 2], found[area, 3] = down[i, 0], down[i, 1]
            found[area, 4], found[area, 5] = across[j, 0], across[j, 1]
            found[area, 6] = (down[i, 4] * columns.size + across[j, 4]) * across_pixel
            taps = (down[i, 3] - down[i, 2]) * (across[j, 3] - across[j, 2])
            place, end, step = count, count + taps * channels, 1 if last else taps
            for ky in range(down[i, 2], down[i, 3]):
                for kx in range(across[j, 2], across[j, 3]):
                    row, column = (ky - down[i, 2]) * rows.dilation, (kx - across[j, 2]) * columns.dilation
                    cell, term = (row * columns.size + column) * across_pixel, (ky * columns.kernel + kx) * tap_step
                    those = slice(place, place + channels if last else end, step)
                    terms[those] = np.arange(channels) * channel_step + term
                    offsets[those] = np.arange(channels) * across_channel + cell
                    place += channels if last else 1
            found[area, 1], count = end - count, end
            area += 1
    return Areas(found, terms, offsets, pixel_steps(conv, columns.size, across_pixel))


@planned
def one_area(conv: Conv, layout: Layout) -> Areas:
    """The one area of padded images, with all terms."""
    K, area = reduction_length(conv), np.zeros((1, 7), np.int64)
    area[0, 1], area[0, 3], area[0, 5] = K, conv.rows.out, conv.columns.out
    steps = pixel_steps(conv, layout.WP, conv.C if layout.last else 1)
    return Areas(area, np.arange(K).astype(np.uint64), term_offsets(conv, layout), steps)
