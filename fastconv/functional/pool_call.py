"""What follows from a pooling's sizes, dtype and options alone, decided once; its images as kernels take them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.hints import LAST
from fastconv._arguments.sizes import layout_argument
from fastconv._engine.pieces import planes_and_rows
from fastconv._engine.pool import lowest_of
from fastconv._geometry.axes import Axis
from fastconv._geometry.pool import PoolGeometry, pool_geometry
from fastconv.errors import ShapeError

CYCLES_OF_A_TAP = 8  # a tap of a window takes as long as this number of products of a convolution

# of an array's dtype: the result's, and the one that it is computed in
Dtypes = Callable[[np.dtype], tuple[np.dtype, np.dtype]]
Shape4 = tuple[int, int, int, int]


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

    def ready(self, x: np.ndarray, layout: str) -> np.ndarray:
        """x as kernels take it, (N, C, H, W)."""
        return ready(arrays.channels_first(np.asarray(x), layout), self.compute).reshape(self.images)

    def new(self, layout: str, y: np.ndarray) -> np.ndarray:
        """Where the results (N, C, OH, OW) are written: y, if that has them in this order and dtype, or a new array."""
        if layout == "NCHW" and y.dtype == self.compute:
            return y.reshape(self.shape)
        return np.empty(self.shape, self.compute)


def pool_call(
    where: str, x: Any, dtypes: Dtypes, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any,
    layout: Any,
) -> PoolCall:  # fmt: skip
    """The pooling of x, all of whose arguments are checked."""
    layout_argument(where, layout)
    arrays.numeric(where, "x", x)
    # nothing that is merely equal to an integer may find what was decided for one
    plain = type(kernel_size) is type(padding) is type(dilation) is int and type(ceil_mode) is bool
    decide = _decided if plain and (stride is None or type(stride) is int) else _decided.__wrapped__
    return decide(where, x.shape, x.dtype, dtypes, kernel_size, stride, padding, dilation, ceil_mode, layout)


@functools.lru_cache(maxsize=1024)
def _decided(
    where: str, x: tuple[int, ...], kind: np.dtype, dtypes: Dtypes, kernel_size: Any, stride: Any, padding: Any,
    dilation: Any, ceil_mode: Any, layout: str,
) -> PoolCall:  # fmt: skip
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
    pieces, (dtype, compute) = list(_pieces(N * C, geometry)), dtypes(kind)
    return PoolCall(
        geometry, dtype, compute, (N, C, H, W), (N, C, OH, OW),
        arrays.shape_as((N, C, OH, OW), layout)[int(unbatched) :], (1, N * C, H, W), (1, N * C, OH, OW),
        pieces if len(pieces) > 1 else [], lowest_of(compute),
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
