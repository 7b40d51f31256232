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
        steps: the cells from one row of pixels to the next, and from one pixel to the next: (2,).
        begins_everywhere: whether the first run's rectangle is the whole output, so that all sums begin with it.
    """

    runs: np.ndarray
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


def reach(rows: Axis, columns: Axis, channels: int, WP: int, cell: int, padded: bool) -> Reach:
    """The runs of a convolution, of images whose rows of pixels are WP * cell apart: one for each tap of the kernel.

    There is one run of all terms where the image is padded.
    """
    steps = np.array([rows.stride * WP * cell, columns.stride * cell])
    if padded:
        runs = [(0, rows.kernel * columns.kernel * channels, 0, rows.out, 0, columns.out, 0)]
    else:
        runs = [
            ((ky * columns.kernel + kx) * channels, channels, *v[:2], *h[:2], (v[2] * WP + h[2]) * cell)
            for ky, v in enumerate(_reached(rows))
            for kx, h in enumerate(_reached(columns))
            if v[0] < v[1] and h[0] < h[1]
        ]
        # one that reaches all pixels, as the middle of a kernel does, comes first: it need not add to other sums
        runs.sort(key=lambda run: (run[3] - run[2]) * (run[5] - run[4]) < rows.out * columns.out)
    begins = bool(runs) and tuple(runs[0][2:6]) == (0, rows.out, 0, columns.out)
    return Reach(np.array(runs, np.int64).reshape(-1, 7), steps, begins)
