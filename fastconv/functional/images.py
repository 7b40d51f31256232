"""Images in any layout, with or without a batch, as functions of planes take and give them: in NCHW order."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.sizes import layout_argument, sizes
from fastconv.errors import ShapeError


def _in_order(where: str, name: str, array: Any, layout: Any) -> tuple[np.ndarray, bool]:
    layout_argument(where, layout)
    images, unbatched = arrays.batched(where, name, arrays.numeric(where, name, array))
    return arrays.channels_first(images, layout), unbatched


def images_of(where: str, x: Any, layout: Any) -> tuple[np.ndarray, bool]:
    """x in NCHW order with a batch axis, and whether it had none."""
    images, unbatched = _in_order(where, "x", x, layout)
    if 0 in images.shape[1:]:
        raise ShapeError(f"{where}: x must have at least one channel and one pixel, got shape {x.shape}")
    return images, unbatched


def checked_gradient(
    where: str, grad_output: Any, input_shape: Any, layout: Any
) -> tuple[np.ndarray, tuple[int, int, int, int], bool]:
    """grad_output ready for a kernel, in NCHW order with a batch axis; the input's shape likewise."""
    g, unbatched = _in_order(where, "grad_output", grad_output, layout)
    full = sizes(where, "input_shape", input_shape, (grad_output.ndim,))
    full = (1, *full) if unbatched else full
    N, C, H, W = arrays.shape_from(full, layout)
    if g.shape[:2] != (N, C) or min(C, H, W) < 1:
        raise ShapeError(f"{where}: input_shape {tuple(input_shape)} does not fit grad_output of {grad_output.shape}")
    return ready(g, arrays.compute_dtype(arrays.result_dtype(grad_output))), (N, C, H, W), unbatched


def delivered(found: np.ndarray, y: np.ndarray, layout: str) -> np.ndarray:
    """y, holding the NCHW result `found`, of which it may be a view already."""
    if not np.may_share_memory(found, y):
        y[...] = arrays.channels_as(found, layout).reshape(y.shape)
    return y


def as_given(found: np.ndarray, dtype: np.dtype, layout: str, unbatched: bool) -> np.ndarray:
    """`found`, in NCHW order, as the caller has it: in that layout, with or without a batch, in the result's dtype."""
    result = np.ascontiguousarray(arrays.channels_as(found, layout)[0 if unbatched else slice(None)])
    return result.astype(dtype, copy=False)
