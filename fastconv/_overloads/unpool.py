"""max_unpool2d and its gradient in jitted code, index by index."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable
from numba.np.numpy_support import as_dtype

from fastconv import functional
from fastconv._arguments.arrays import check_memory, same_shape
from fastconv._arguments.sizes import layout_argument
from fastconv._overloads import arguments
from fastconv._overloads.arguments import known
from fastconv._overloads.arrays import delivery, images_reader, sizes_of
from fastconv._overloads.pool import check_indices, full_shape, indices_reader, same_integer
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked
from fastconv.errors import ShapeError
from fastconv.functional.max_pool import max_dtype


@linked
def put(where, x, indices, H, W):
    """Planes (N, C, H, W) with the values x where their indices say, zero elsewhere."""
    N, C, OH, OW = x.shape
    values, cells = x.reshape((N * C, OH * OW)), indices.reshape((N * C, OH * OW))
    check_indices(where, cells, H, W)
    check_memory(where, "the result", (N, C, H, W), x.itemsize)
    y = np.zeros((N * C, H * W), x.dtype)
    for p in range(N * C):
        for o in range(OH * OW):
            y[p, cells[p, o]] = values[p, o]
    return y.reshape((N, C, H, W))


@linked
def take(where, g, indices):
    """The values of g where the indices say."""
    N, C, H, W = g.shape
    _, _, OH, OW = indices.shape
    values, cells = g.reshape((N * C, H * W)), indices.reshape((N * C, OH * OW))
    check_indices(where, cells, H, W)
    grad = np.empty((N * C, OH * OW), g.dtype)
    for p in range(N * C):
        for o in range(OH * OW):
            grad[p, o] = values[p, cells[p, o]]
    return grad.reshape(indices.shape)


@compiled_as(functional.max_unpool2d)
def _max_unpool2d(x: Any, indices: Any, output_shape: Any, layout: Any) -> Any:
    where = "max_unpool2d"
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "x", arguments.array(where, "x", x))
    full = full_shape(where, "output_shape", output_shape, "x", x, order)
    dtype = as_dtype(x.dtype)
    read, read_indices = images_reader(x, max_dtype(dtype), order), indices_reader(where, indices, x.ndim, order)
    deliver, narrow = delivery(x.ndim, order), same_integer(dtype)

    def compiled(x, indices, output_shape, layout):
        _, _, H, W = full(x, output_shape)
        same_shape(where, "indices", indices, x.shape)
        return narrow(deliver(put(where, read(x), read_indices(indices), H, W), None))

    return compiled


@compiled_as(functional.max_unpool2d_backward)
def _max_unpool2d_backward(grad_output: Any, indices: Any, layout: Any) -> Any:
    where = "max_unpool2d_backward"
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "grad_output", arguments.array(where, "grad_output", grad_output))
    ndim = grad_output.ndim
    read, sizes = images_reader(grad_output, arguments.result_dtype(grad_output), order), sizes_of(ndim, order)
    read_indices, deliver = indices_reader(where, indices, ndim, order), delivery(ndim, order)

    def check(g, indices):
        (N, C, H, W), found = sizes(g.shape), sizes(indices.shape)
        if min(C, H, W) < 1 or N != found[0] or C != found[1]:
            raise ShapeError("{}: indices {} do not fit grad_output of {}", where, indices.shape, g.shape)

    fits = register_jitable(check)

    def compiled(grad_output, indices, layout):
        fits(grad_output, indices)
        return deliver(take(where, read(grad_output), read_indices(indices)), None)

    return compiled
