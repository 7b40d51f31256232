"""Images and gradients as the kernels read them: in padded planes, in runs of pixels, or as they are."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._geometry.conv import Conv
from fastconv._geometry.layout import Layout, column_shifts, copied
from fastconv._runtime.jit import linked
from fastconv.kernels import packing


@linked
def planes_of(where: str, conv: Conv, layout: Layout, x: np.ndarray) -> np.ndarray:
    """The images x (N, C, H, W), or (N, H, W, C) with channels last, as a layout has them: (N, cells of an image).

    It is x itself where nothing has to move.
    """
    N, rows, columns = len(x), conv.rows, conv.columns
    if not copied(layout):
        return x.reshape((N, conv.C * layout.cells))
    lines, cell = (N, conv.C) if layout.last else (N * conv.C, 1)
    shape = (lines, layout.vertical, layout.copies, layout.HP, layout.WP * cell)
    planes = empty(where, shape, x.dtype, "the padded input")
    flat = x.reshape((lines, rows.size, columns.size * cell))
    packing.split(flat, rows.before, layout.vertical, column_shifts(columns, layout) * cell, layout.horizontal, planes)
    return planes.reshape((N, conv.C * layout.cells))


@linked
def runs_of(
    where: str, conv: Conv, layout: Layout, g: np.ndarray, by_rows: bool
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The runs of pixels (runs, cells of one, distance in g, distance in the planes), and g (N, OC, cells).

    One run of padded rows, unless `by_rows` or the layout says that each row of pixels is one.
    """
    N, OC, OH, OW = g.shape
    if layout.WP == OW:
        return (1, OH * OW, 0, 0), g.reshape((N, OC, OH * OW))
    if by_rows or layout.by_rows:
        return (OH, OW, OW, layout.WP), g.reshape((N, OC, OH * OW))
    cells = (OH - 1) * layout.WP + OW
    wide = empty(where, (N, OC, cells), g.dtype, "the gradient in padded rows")
    packing.widen(g.reshape((N * OC, OH, OW)), layout.WP, wide.reshape((N * OC, cells)))
    return (1, cells, 0, 0), wide


@linked
def channels_first(where: str, x: np.ndarray) -> np.ndarray:
    """x (N, H, W, C) as a new array (N, C, H, W)."""
    N, H, W, C = x.shape
    moved = empty(where, (N, C, H, W), x.dtype, "the images in NCHW order")
    packing.transposed(x.reshape((N, H * W, C)), moved.reshape((N, C, H * W)))
    return moved


@linked
def to_channels_last(x: np.ndarray, y: np.ndarray) -> None:
    """Y (N, H, W, C) = x (N, C, H, W)."""
    N, C, H, W = x.shape
    packing.transposed(x.reshape((N, C, H * W)), y.reshape((N, H * W, C)))


@linked
def channels_last(where: str, x: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) as a new array (N, H, W, C)."""
    N, C, H, W = x.shape
    moved = empty(where, (N, H, W, C), x.dtype, "the images with channels last")
    to_channels_last(x, moved)
    return moved
