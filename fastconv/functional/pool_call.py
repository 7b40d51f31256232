"""What follows from a pooling's sizes, dtype and options alone, decided once; its images as kernels take them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.hints import LAST
from fastconv._arguments.sizes import is_plain, layout_argument
from fastconv._engine.pieces import planes_and_rows
from fastconv._engine.pool import lowest_of
from fastconv._geometry.axes import Axis
from fastconv._geometry.pool import PoolGeometry, pool_geometry
from fastconv.errors import ShapeError

CYCLES_OF_A_TAP = 8  # a tap of a window takes as long as this number of products of a convolution

Shape4 = tuple[int, int, int, int]


class Pooling(NamedTuple):
    """What sets one pooling apart from the others.

    Attributes:
        dtypes: of an array's dtype, the result's and the one that it is computed in.
        prepared: of how many planes, their axes and what no pixel is below, what pools them at once.
    """

    dtypes: Callable[[np.dtype], tuple[np.dtype, np.dtype]]
    prepared: Callable[[int, Axis, Axis, Any], Callable[..., None]]


class PoolPiece(NamedTuple):
    """What is pooled at once: its pixels and its results, in one batch of all planes, and its rows of windows."""

    pixels: tuple[slice, slice]
    results: tuple[slice, slice, slice]
    rows: Axis


class PoolCall(NamedTuple):
    """A pooling, whose sizes are all checked.

    Attributes:
        geometry: its axes.
        dtype: the result's dtype.
        compute: the dtype that it is computed in.
        images: the shape of x with a batch, (N, C, H, W).
        shape: the result's shape, (N, C, OH, OW).
        final: the result's shape, as the caller has it.
        planes: the shape of x as one image of all planes, (1, N*C, H, W).
        results: likewise of the result.
        pieces: the parts that it is done in; empty where it is done at once.
        lowest: what no pixel is below.
        new: what makes the array for the result.
        run: what pools all at once, as the pooling has prepared it.
    """

    geometry: PoolGeometry
    dtype: np.dtype
    compute: np.dtype
    images: Shape4
    shape: Shape4
    final: tuple[int, ...]
    planes: Shape4
    results: Shape4
    pieces: list[PoolPiece]
    lowest: np.generic
    new: Callable[[], np.ndarray]
    run: Callable[..., None]

    def ready(self, x: np.ndarray, layout: str) -> np.ndarray:
        """x as kernels take it, (N, C, H, W)."""
        if layout == "NCHW" and x.shape == self.images:
            return ready(x, self.compute)
        return ready(arrays.channels_first(np.asarray(x), layout), self.compute).reshape(self.images)

    def target(self, layout: str, y: np.ndarray) -> np.ndarray:
        """Where the results (N, C, OH, OW) are written: y, if that has them in this order and dtype, or a new array."""
        if layout == "NCHW" and y.dtype == self.compute:
            return y if y.shape == self.shape else y.reshape(self.shape)
        return np.empty(self.shape, self.compute)


def pool_call(
    where: str, x: Any, pooling: Pooling, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any,
    layout: Any,
) -> PoolCall:  # fmt: skip
    """The pooling of x, all of whose arguments are checked."""
    arrays.numeric(where, "x", x)
    # nothing that is merely equal to an integer may find what was decided for one
    plain = type(ceil_mode) is bool and is_plain((kernel_size, kernel_size if stride is None else stride, padding))
    decide = _decided if plain and is_plain((dilation, layout)) else _decided.__wrapped__
    return decide(where, x.shape, x.dtype, pooling, kernel_size, stride, padding, dilation, ceil_mode, layout)


@functools.lru_cache(maxsize=1024)
def _decided(
    where: str, x: tuple[int, ...], kind: np.dtype, pooling: Pooling, kernel_size: Any, stride: Any, padding: Any,
    dilation: Any, ceil_mode: Any, layout: Any,
) -> PoolCall:  # fmt: skip
    layout_argument(where, layout)
    unbatched = arrays.lacks_batch(where, "x", x)
    N, C, H, W = arrays.shape_from((1, *x) if unbatched else x, layout)
    if C < 1:
        raise ShapeError(f"{where}: x must have at least one channel, got shape {x}")
    options = kernel_size, stride, padding, dilation, ceil_mode
    try:
        geometry = pool_geometry(where, (H, W), *options)
    except ShapeError as error:
        if layout == "NCHW" and not unbatched and _fits(where, x[1:3], options):
            error.args = (f"{error}{LAST}",)
        raise
    OH, OW = geometry.rows.out, geometry.columns.out
    pieces, (dtype, compute) = list(_pieces(N * C, geometry)), pooling.dtypes(kind)
    final, lowest = arrays.shape_as((N, C, OH, OW), layout)[int(unbatched) :], lowest_of(compute)
    return PoolCall(
        geometry, dtype, compute, (N, C, H, W), (N, C, OH, OW), final, (1, N * C, H, W), (1, N * C, OH, OW),
        pieces if len(pieces) > 1 else [], lowest, arrays.maker(where, final, dtype),
        pooling.prepared(N * C, geometry.rows, geometry.columns, lowest),
    )  # fmt: skip


def _fits(where: str, shape: tuple[int, ...], options: tuple[Any, ...]) -> bool:
    try:
        pool_geometry(where, shape, *options)
    except ShapeError:
        return False
    return True


def _pieces(P: int, geometry: PoolGeometry) -> Iterator[PoolPiece]:
    """The parts of P planes, as one batch, that are pooled at once."""
    rows, columns, every = geometry.rows, geometry.columns, slice(None)
    for part, some in planes_and_rows(P, rows.out, columns.out * rows.kernel * columns.kernel * CYCLES_OF_A_TAP):
        own, count = rows, some.stop - some.start
        if count < rows.out:
            own = rows._replace(before=rows.before - some.start * rows.stride, out=count)
        yield PoolPiece((every, part), (every, part, some), own)
