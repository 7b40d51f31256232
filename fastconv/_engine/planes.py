"""Images and gradients as the kernels read them: in padded planes, in runs of pixels, or as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._geometry.conv import Conv
from fastconv._geometry.layout import Layout, column_shifts, copied
from fastconv._runtime.jit import jitable, linked
from fastconv.kernels import packing


@linked
def planes_of(where: str, conv: Conv, layout: Layout, x: np.ndarray) -> np.ndarray:
    """The images x (N, C, H, W), or (N, H, W, C) with channels last, as a layout has them: (N, cells of an image).

    It is x itself where nothing has to move.
    """
    N = len(x)
    if not copied(layout):
        return x.reshape((N, conv.C * layout.cells))
    lines, shape = _line_shapes(N, conv, layout)
    planes = empty(where, shape, x.dtype, "the padded input")
    rows, cell = conv.rows, conv.C if layout.last else 1
    shifts = column_shifts(conv.columns, layout) * cell
    packing.split(x.reshape(lines), rows.before, layout.vertical, shifts, layout.horizontal, planes)
    return planes.reshape((N, conv.C * layout.cells))


@jitable
def _line_shapes(
    N: int, conv: Conv, layout: Layout
) -> tuple[tuple[int, int, int], tuple[int, int, int, int, int]]:  # fmt: skip
    """The shapes of N images and of their padded planes, as what copies their rows takes them."""
    lines, cell = (N, conv.C) if layout.last else (N * conv.C, 1)
    shape = (lines, layout.vertical, layout.copies, layout.HP, layout.WP * cell)
    return (lines, conv.rows.size, conv.columns.size * cell), shape


def prepared_planes(N: int, conv: Conv, layout: Layout) -> Callable[[str, np.ndarray], np.ndarray]:
    """`planes_of` for (where, x), N images of one dtype in NCHW order, with what follows from sizes found before."""
    cells = N, conv.C * layout.cells
    if not copied(layout):
        return lambda where, x: x.reshape(cells)
    (lines, shape), split = _line_shapes(N, conv, layout), packing.split.prepared(N * conv.C * layout.cells)
    places = conv.rows.before, layout.vertical, column_shifts(conv.columns, layout), layout.horizontal

    def planes_of(where: str, x: np.ndarray) -> np.ndarray:
        planes = empty(where, shape, x.dtype, "the padded input")
        split(x.reshape(lines), *places, planes)
        return planes.reshape(cells)

    return planes_of


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
