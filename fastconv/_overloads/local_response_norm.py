"""local_response_norm and its gradient in jitted code; powers are the C library's and not NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._overloads import arguments
from fastconv._overloads.arrays import delivery, images_reader
from fastconv._overloads.global_pool import pixels_checker
from fastconv._overloads.register import compiled_as
from fastconv.kernels.local_response_norm import gradient, normalise


@compiled_as(functional.local_response_norm)
def _local_response_norm(x: Any, size: Any, alpha: Any, beta: Any, k: Any, layout: Any) -> Any:
    where = "local_response_norm"
    order, check = pixels_checker(where, x, layout)
    options = _options(where, size, alpha, beta, k)
    read, deliver = images_reader(x, arguments.result_dtype(x), order), delivery(x.ndim, order)

    def compiled(x, size, alpha, beta, k, layout):
        check(x)
        n, a, b, start = options(size, alpha, beta, k)
        images = read(x)
        y = np.empty(images.shape, images.dtype)
        normalise(images, n, a, b, start, y)
        return deliver(y, None)

    return compiled


@compiled_as(functional.local_response_norm_backward)
def _local_response_norm_backward(
    grad_output: Any, x: Any, size: Any, alpha: Any, beta: Any, k: Any, layout: Any
) -> Any:  # fmt: skip
    where = "local_response_norm_backward"
    order, check = pixels_checker(where, x, layout)
    options = _options(where, size, alpha, beta, k)
    dtype = arguments.result_dtype(arguments.gradient(where, grad_output, x.ndim), x)
    read, read_g = images_reader(x, dtype, order), images_reader(grad_output, dtype, order)
    deliver = delivery(x.ndim, order)

    def compiled(grad_output, x, size, alpha, beta, k, layout):
        check(x)
        same_shape(where, "grad_output", grad_output, x.shape)
        n, a, b, start = options(size, alpha, beta, k)
        images = read(x)
        grad = np.empty(images.shape, images.dtype)
        gradient(read_g(grad_output), images, n, a, b, start, grad)
        return deliver(grad, None)

    return compiled


def _options(where: str, size: Any, alpha: Any, beta: Any, k: Any) -> Any:
    """The function that gives these numbers, checked."""
    arguments.whole(where, "size", size)
    named = ("alpha", alpha), ("beta", beta), ("k", k)
    alpha_of, beta_of, k_of = (arguments.number(where, name, kind) for name, kind in named)

    def checked(size, alpha, beta, k):
        found = alpha_of(alpha), beta_of(beta), k_of(k)
        check_range(where, "size", np.int64(size), 1)
        return np.int64(size), found[0], found[1], found[2]

    return register_jitable(checked)
