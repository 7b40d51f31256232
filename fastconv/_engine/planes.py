"""Images and gradients as the kernels read them: in padded planes, in runs of pixels, or as they are."""

from __future__ import annotations

import numpy as np

from fastconv._arguments import arrays
from fastconv._geometry.conv import ConvGeometry
from fastconv.kernels import packing as moves


def planes_of(where: str, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """x (N, C, H, W), or (N, H, W, C) where channels are last, as the kernels read it: (N, cells of an image).

    It is x itself where nothing has to move.
    """
    if geometry.in_place:
        return x.reshape(len(x), geometry.C * geometry.plane)
    vertical, horizontal = geometry.steps
    lines, cell = (len(x), geometry.C) if geometry.last else (len(x) * geometry.C, 1)
    shape = (lines, vertical, len(geometry.shifts), geometry.HP, geometry.WP * cell)
    planes = arrays.empty(where, shape, x.dtype, "the padded input")
    flat = x.reshape(lines, geometry.rows.size, geometry.columns.size * cell)
    moves.split(flat, geometry.rows.before, vertical, geometry.shifts * cell, horizontal, planes)
    return planes.reshape(len(x), geometry.C * geometry.plane)


def runs_of(
    where: str, g: np.ndarray, geometry: ConvGeometry, by_rows: bool
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The runs of pixels (runs, cells of one, distance in g, distance in the planes), and g (N, OC, cells)."""
    N, OC, OH, OW = g.shape
    if geometry.WP == OW:
        return (1, OH * OW, 0, 0), g.reshape(N, OC, OH * OW)
    if by_rows or geometry.by_rows:
        return (OH, OW, OW, geometry.WP), g.reshape(N, OC, OH * OW)
    wide = arrays.empty(where, (N, OC, geometry.wide), g.dtype, "the gradient in wide rows")
    moves.widen(g.reshape(N * OC, OH, OW), geometry.WP, wide.reshape(N * OC, geometry.wide))
    return (1, geometry.wide, 0, 0), wide
