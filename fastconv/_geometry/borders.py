"""Which pixels of a convolution's output are reached by which taps of the kernel with a pixel of the image.

At the other pixels a tap lies in the padding. A kernel that leaves those out multiplies none of the padding's zeros,
and the image need not be padded. Terms are a tap of the kernel and an input channel, in the order (ky, kx, c).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from fastconv._geometry.axes import Axis


class Reach(NamedTuple):
    """The rectangle of pixels that each tap reaches: int64.

    Attributes:
        runs: (taps, 7), the first term, how many, first and last row of pixels + 1, first and last column + 1, and the
            input cell of the first pixel's first term. Taps that reach nothing are left out.
        steps: the cells from one row of pixels to the next, and from one pixel to the next: (2,).
        begins_everywhere: whether some tap reaches all pixels.
    """

    runs: np.ndarray
    steps: np.ndarray
    begins_everywhere: bool


class Areas(NamedTuple):
    """The rectangles of pixels that the same taps reach.

    Attributes:
        areas: (areas, 7) int64, as the runs of `Reach`, but the first term and how many are of `terms`.
        terms: the terms of all areas: uint64.
        offsets: their cells, from the first one of their area: uint64.
        steps: as in `Reach`.
    """

    areas: np.ndarray
    terms: np.ndarray
    offsets: np.ndarray
    steps: np.ndarray


def _steps(rows: Axis, columns: Axis, WP: int, cell: int) -> np.ndarray:
    return np.array([rows.stride * WP * cell, columns.stride * cell])


def _reached(axis: Axis) -> list[tuple[int, int, int]]:
    """For each tap of an axis: the first pixel that it reaches, the last one + 1, and the input pixel of the first."""
    found = []
    for tap in range(axis.kernel):
        start = tap * axis.dilation - axis.before
        first = max(0, -(start // axis.stride))
        last = max(first, min(axis.out, -((start - axis.size) // axis.stride)))
        found.append((first, last, first * axis.stride + start))
    return found


def reach(rows: Axis, columns: Axis, channels: int, WP: int, cell: int) -> Reach:
    """The reach of the taps in images whose rows of pixels are WP * cell apart."""
    runs = [
        ((ky * columns.kernel + kx) * channels, channels, *v[:2], *h[:2], (v[2] * WP + h[2]) * cell)
        for ky, v in enumerate(_reached(rows))
        for kx, h in enumerate(_reached(columns))
        if v[0] < v[1] and h[0] < h[1]
    ]
    begins = any(run[2:6] == (0, rows.out, 0, columns.out) for run in runs)
    return Reach(np.array(runs, np.int64).reshape(-1, 7), _steps(rows, columns, WP, cell), begins)


def _alike(axis: Axis) -> list[tuple[int, int, range, int]]:
    """The runs of an axis' pixels that the same taps reach: first, last + 1, the taps, the input pixel of the first."""
    edges = {0, axis.out, *(edge for first, last, _ in _reached(axis) if first < last for edge in (first, last))}
    found = []
    for first, last in itertools.pairwise(sorted(edges)):
        start = first * axis.stride - axis.before
        begin = max(0, -(start // axis.dilation))
        taps = range(begin, max(begin, min(axis.kernel, (axis.size - 1 - start) // axis.dilation + 1)))
        found.append((first, last, taps, start + begin * axis.dilation if taps else 0))
    return found


def area_taps(rows: Axis, columns: Axis) -> int:
    """The taps of all areas together."""
    down, across = (sum(len(taps) for _, _, taps, _ in _alike(axis)) for axis in (rows, columns))
    return down * across


def areas(rows: Axis, columns: Axis, channels: int, WP: int, C: int) -> Areas:
    """The areas of images (H, WP, C), of which `channels` are a group's; without terms where there is only padding."""
    found, terms, offsets, count = [], [], [], 0
    for v, h in itertools.product(_alike(rows), _alike(columns)):
        ky, kx, c = np.ix_(v[2], h[2], range(channels))
        own = ((ky * columns.kernel + kx) * channels + c).ravel()
        found.append((count, own.size, *v[:2], *h[:2], (v[3] * WP + h[3]) * C))
        terms.append(own)
        row, column = (ky - v[2].start) * rows.dilation, (kx - h[2].start) * columns.dilation
        offsets.append(((row * WP + column) * C + c).ravel())
        count += own.size
    table, places = (np.concatenate(part).astype(np.uint64) for part in (terms, offsets))
    return Areas(np.array(found, np.int64).reshape(-1, 7), table, places, _steps(rows, columns, WP, C))


def whole(rows: Axis, columns: Axis, offsets: np.ndarray, WP: int, cell: int) -> Areas:
    """The one area of padded images, with all terms, which are at these offsets."""
    area = np.array([(0, offsets.size, 0, rows.out, 0, columns.out, 0)])
    return Areas(area, np.arange(offsets.size, dtype=np.uint64), offsets, _steps(rows, columns, WP, cell))
