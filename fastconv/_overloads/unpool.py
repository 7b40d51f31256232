"""max_unpool2d and its gradient in jitted code."""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable
from numba.np.numpy_support import as_dtype

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.unpool import put, take
from fastconv._overloads import arguments
from fastconv._overloads.arguments import images_order
from fastconv._overloads.arrays import delivery, images_reader, sizes_of
from fastconv._overloads.register import compiled_as
from fastconv._overloads.shaped import indices_reader, shaped
from fastconv.errors import ShapeError


@compiled_as(functional.max_unpool2d)
def _max_unpool2d(x: Any, indices: Any, output_shape: Any, layout: Any) -> Any:
    where = "max_unpool2d"
    dtype = as_dtype(arguments.array(where, "x", x).dtype)
    read, full, deliver, order = shaped(where, x, output_shape, layout, dtype, "x", "output_shape")
    read_indices = indices_reader(where, indices, x.ndim, order)

    def compiled(x, indices, output_shape, layout):
        shape = full(x, output_shape)
        same_shape(where, "indices", indices, x.shape)
        return deliver(put(where, read(x), read_indices(indices), shape), None)

    return compiled


@compiled_as(functional.max_unpool2d_backward)
def _max_unpool2d_backward(grad_output: Any, indices: Any, layout: Any) -> Any:
    where = "max_unpool2d_backward"
    order, ndim = images_order(where, "grad_output", grad_output, layout), grad_output.ndim
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
