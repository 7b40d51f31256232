"""A pooling's sizes, all checked."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments.sizes import Margins, padding_argument, pair
from fastconv._geometry.axes import Axis, pool_axes


class PoolGeometry(NamedTuple):
    """The axes of a pooling, which hold kernel, stride, dilation and padding."""

    rows: Axis
    columns: Axis


@functools.lru_cache(maxsize=1024)
def _pool_geometry(
    where: str, image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], margins: Margins,
    dilation: tuple[int, int], ceil_mode: bool,
) -> PoolGeometry:  # fmt: skip
    return PoolGeometry(*pool_axes(where, image, kernel, stride, margins, dilation, ceil_mode))


def pool_geometry(
    where: str, image: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1,
    ceil_mode: Any = False,
) -> PoolGeometry:  # fmt: skip
    """The sizes of a pooling over `image` (H, W), all checked; `stride` None is the kernel's size."""
    kernel = pair(where, "kernel_size", kernel_size, 1)
    if not isinstance(ceil_mode, bool | np.bool_):
        raise TypeError(f"{where}: ceil_mode must be True or False, got {ceil_mode!r}")
    return _pool_geometry(
        where, (image[0], image[1]), kernel, kernel if stride is None else pair(where, "stride", stride, 1),
        padding_argument(where, padding), pair(where, "dilation", dilation, 1), bool(ceil_mode),
    )  # fmt: skip
