"""Indirection buffers: the offsets of rows, and of the pixels of a rectangle (see `Reach` and `Areas`)."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper, inlined


@helper
def row_offsets(rows, length):
    """The offsets of `rows` rows of `length` cells each that lie one behind the other: (rows,) uint64."""
    offsets = np.empty(rows, np.uint64)
    for r in range(rows):
        offsets[r] = r * length
    return offsets


@inlined
def repeated(pixels, image, images):
    """The pixels of `images` images, `image` cells apart: (images * pixels,) uint64."""
    P = pixels.size
    cells = np.empty(images * P, np.uint64)
    for i in range(images):
        for p in range(P):
            cells[i * P + p] = pixels[p] + np.uint64(i * image)
    return cells


@inlined
def list_pixels(cells, places, run, steps, start, end, columns, source, target, row):
    """List the pixels from `start` to `end` in a rectangle: their cells and their places, `row` apart; how many."""
    oy0, oy1, ox0, ox1, corner = run[2], run[3], run[4], run[5], run[6]
    count = 0
    for oy in range(max(oy0, start // columns), min(oy1, (end - 1) // columns + 1)):
        first = max(ox0, start - oy * columns)
        cell = np.uint64(source + corner + (oy - oy0) * steps[0] + (first - ox0) * steps[1])
        place = np.uint64(target + (oy * columns + first - start) * row)
        step, width, begin = np.uint64(steps[1]), np.uint64(row), np.uint64(count)
        pixels = max(min(ox1, end - oy * columns) - first, 0)
        for p in range(np.uint64(pixels)):
            cells[begin + p], places[begin + p] = cell, place
            cell += step
            place += width
        count += pixels
    return count
