"""local_response_norm and its gradient in jitted code; powers are the C library's and not NumPy's."""

from __future__ import annotations

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._overloads.arguments import number
from fastconv._overloads.arrays import zero_of
from fastconv._overloads.images import as_given, check_pixels, images
from fastconv._overloads.register import compiled_as, text
from fastconv.kernels.local_response_norm import gradient, normalise


@text
def _options(where, size, alpha, beta, k):
    """These numbers, checked."""
    found = number(where, "alpha", alpha), number(where, "beta", beta), number(where, "k", k)
    check_range(where, "size", np.int64(size), 1)
    return np.int64(size), found[0], found[1], found[2]


@compiled_as(functional.local_response_norm)
def _local_response_norm(x, size, alpha, beta, k, layout):
    where = "local_response_norm"
    check_pixels(where, x, layout)
    n, a, b, start = _options(where, size, alpha, beta, k)
    values = images(x, zero_of(x), layout)
    y = np.empty(values.shape, values.dtype)
    normalise(values, n, a, b, start, y)
    return as_given(y, x.shape, layout)


@compiled_as(functional.local_response_norm_backward)
def _local_response_norm_backward(grad_output, x, size, alpha, beta, k, layout):
    where, zero = "local_response_norm_backward", zero_of(grad_output, x)
    check_pixels(where, x, layout)
    same_shape(where, "grad_output", grad_output, x.shape)
    n, a, b, start = _options(where, size, alpha, beta, k)
    values = images(x, zero, layout)
    grad = np.empty(values.shape, values.dtype)
    gradient(images(grad_output, zero, layout), values, n, a, b, start, grad)
    return as_given(grad, x.shape, layout)
