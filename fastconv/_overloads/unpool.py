"""max_unpool2d and its gradient in jitted code."""

from __future__ import annotations

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.unpool import put, take
from fastconv._overloads.arrays import zero_of
from fastconv._overloads.images import as_given, full_shape, images, sizes_of
from fastconv._overloads.register import compiled_as
from fastconv.errors import ShapeError


@compiled_as(functional.max_unpool2d)
def _max_unpool2d(x, indices, output_shape, layout):
    where = "max_unpool2d"
    shape = full_shape(where, "output_shape", output_shape, "x", x, layout)
    same_shape(where, "indices", indices, x.shape)
    values, places = images(x, x.dtype.type(0), layout), images(indices, np.int64(0), layout)
    return as_given(put(where, values, places, shape), output_shape, layout)


@compiled_as(functional.max_unpool2d_backward)
def _max_unpool2d_backward(grad_output, indices, layout):
    where = "max_unpool2d_backward"
    (N, C, H, W), found = sizes_of(grad_output.shape, layout), sizes_of(indices.shape, layout)
    if min(C, H, W) < 1 or N != found[0] or C != found[1]:
        raise ShapeError("{}: indices {} do not fit grad_output of {}", where, indices.shape, grad_output.shape)
    g, places = images(grad_output, zero_of(grad_output), layout), images(indices, np.int64(0), layout)
    return as_given(take(where, g, places), indices.shape, layout)
