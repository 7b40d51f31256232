"""Images whose result has a shape that is an argument itself: gradients of pooling, and unpooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from fastconv._arguments.sizes import check_range
from fastconv._overloads import arguments
from fastconv._overloads.arguments import images_order
from fastconv._overloads.arrays import delivery, images_reader, sizes_of
from fastconv.errors import DTypeError, ShapeError


def shaped(
    where: str, images: Any, shape: Any, layout: Any, dtype: np.dtype | None = None, name: str = "grad_output",
    shape_name: str = "input_shape",
) -> tuple[Callable, Callable, Callable, str]:  # fmt: skip
    """How images are read in a dtype, their shape's check, how a result is delivered, and the layout.

    The check is a function of the images and the argument `shape` that gives it as (N, C, H, W).
    """
    order = images_order(where, name, images, layout)
    arguments.whole_sizes(where, shape_name, shape, (images.ndim,))
    sizes, unfit = sizes_of(images.ndim, order), f"{{}}: {shape_name} {{}} does not fit {name} of {{}}"

    def full_shape(array, shape):
        N, C, H, W = sizes(shape)
        full, given = (np.int64(N), np.int64(C), np.int64(H), np.int64(W)), sizes(array.shape)
        for i in range(4):
            check_range(where, shape_name, full[i], 0)
        if given[0] != full[0] or given[1] != full[1] or min(full[1], full[2], full[3]) < 1:
            raise ShapeError(unfit, where, shape, array.shape)
        return full

    read = images_reader(images, dtype or arguments.result_dtype(images), order)
    return read, register_jitable(full_shape), delivery(images.ndim, order), order


def indices_reader(where: str, indices: Any, ndim: int, layout: str) -> Callable:
    """The function that gives indices of so many dimensions as kernels take them."""
    if not isinstance(arguments.array(where, "indices", indices).dtype, types.Integer):
        raise DTypeError(f"{where}: indices must be integers, got {indices.dtype}")
    if indices.ndim != ndim:
        raise ShapeError(f"{where}: indices must have {ndim} dimensions, got {indices.ndim}")
    return images_reader(indices, np.dtype(np.int64), layout)
