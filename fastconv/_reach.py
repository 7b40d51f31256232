"""Which pixels of a convolution's output each tap of the kernel reaches with a pixel of the image.

At the other pixels the tap lies in the padding. A kernel that goes tap by tap multiplies none of those zeros, and the
image need not be padded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._axes import Axis


class Reach(NamedTuple):
    """Runs of terms that belong to the same rectangle of pixels, as the packed kernels take them: int64.

    A term is a tap of the kernel and an input channel, in the order (ky, kx, c) where each tap has a run of its own;
    one run of all of them has the order of the geometry's offsets.

    Attributes:
        runs: (runs, 7), the first term, how many, first and last row of pixels + 1, first and last column + 1, and the
            input cell of the first pixel's first term.
        joined: all terms, at the pixels that all of them reach, and then `runs`, which those pixels are left out of.
        steps: the cells from one row of pixels to the next, and from one pixel to the next: (2,).
        begins_everywhere: whether the first run's rectangle is the whole output, so that all sums begin with it.
    """

    runs: np.ndarray
    joined: np.ndarray
    steps: np.ndarray
    begins_everywhere: bool


def _reached(axis: Axis) -> list[tuple[int, int, int]]:
    """For each tap of an axis: the first pixel that it reaches, the last one + 1, and the input pixel of the first."""
    found = []
    for tap in range(axis.kernel):
        start = tap * axis.dilation - axis.before
        first = max(0, -(start // axis.stride))
        last = max(first, min(axis.out, -((start - axis.size) // axis.stride)))
        found.append((first, last, first * axis.stride + start))
    return found


def _by_all(axis: Axis, taps: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    """What `_reached` has of each tap, of all of them."""
    first = max(tap[0] for tap in taps)
    return first, max(first, min(tap[1] for tap in taps)), first * axis.stride - axis.before


def reach(rows: Axis, columns: Axis, channels: int, WP: int, cell: int, padded: bool) -> Reach:
    """The runs of a convolution, of images whose rows of pixels are WP * cell apart: one for each tap of the kernel.

    There is one run of all terms where the image is padded.
    """
    steps = np.array([rows.stride * WP * cell, columns.stride * cell])
    terms = rows.kernel * columns.kernel * channels
    if padded:
        whole = np.array([(0, terms, 0, rows.out, 0, columns.out, 0)])
        return Reach(whole, whole, steps, True)
    down, across = _reached(rows), _reached(columns)

    def run(first: int, count: int, v: tuple[int, int, int], h: tuple[int, int, int]) -> tuple[int, ...]:
        return first, count, *v[:2], *h[:2], (v[2] * WP + h[2]) * cell

    runs = [
        run((ky * columns.kernel + kx) * channels, channels, v, h)
        for ky, v in enumerate(down)
        for kx, h in enumerate(across)
        if v[0] < v[1] and h[0] < h[1]
    ]
    # one that reaches all pixels, as the middle of a kernel does, comes first: it need not add to other sums
    runs.sort(key=lambda run: (run[3] - run[2]) * (run[5] - run[4]) < rows.out * columns.out)
    begins = bool(runs) and tuple(runs[0][2:6]) == (0, rows.out, 0, columns.out)
    joined = [run(0, terms, _by_all(rows, down), _by_all(columns, across)), *runs]
    return Reach(*(np.array(r, np.int64).reshape(-1, 7) for r in (runs, joined)), steps, begins)
