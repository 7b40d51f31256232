"""Lists of the pixels that a tap of the kernel reaches (see `Reach`)."""

from __future__ import annotations

import numpy as np

from fastconv._jit import inlined


@inlined
def _list_row(cells, places, begin, cell, step, place, row, pixels):
    """List `pixels` pixels, from the item `begin` on; how many there are then."""
    at, here, there = np.uint64(begin), np.uint64(cell), np.uint64(place)
    step, row = np.uint64(step), np.uint64(row)
    for p in range(np.uint64(max(pixels, 0))):
        cells[at + p], places[at + p] = here, there
        here += step
        there += row
    return begin + max(pixels, 0)


@inlined
def list_pixels(cells, places, run, hole, steps, start, end, columns, source, target, row):
    """List the pixels from `start` to `end` that a run reaches: their cells and their places, `row` apart; how many.

    Those of the rectangle `hole`, the first and last row of pixels + 1 and the first and last column + 1, are left out.
    """
    oy0, oy1, ox0, ox1, corner = run[2], run[3], run[4], run[5], run[6]
    count = 0
    for oy in range(max(oy0, start // columns), min(oy1, (end - 1) // columns + 1)):
        first, last = max(ox0, start - oy * columns), min(ox1, end - oy * columns)
        left, right = last, last
        if hole[0] <= oy < hole[1]:
            left, right = min(last, hole[2]), max(first, hole[3])
        here, there = source + corner + (oy - oy0) * steps[0] - ox0 * steps[1], target + (oy * columns - start) * row
        for begin, stop in ((first, left), (right, last)):
            count = _list_row(
                cells, places, count, here + begin * steps[1], steps[1], there + begin * row, row, stop - begin
            )
    return count
