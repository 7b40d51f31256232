"""local_response_norm and its gradient in jitted code; powers are the C library's and not NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._overloads import arguments
from fastconv._overloads.arrays import delivery, images_reader
from fastconv._overloads.global_pool import pixels_checker
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked, strict_helper


@strict_helper
def _neighbours(a, before, after):
    """For each channel of a (N, C, P) the sum over the channels from c - before to c + after."""
    N, C, P = a.shape
    total = np.empty(a.shape, a.dtype)
    for n in range(N):
        for c in range(C):
            for p in range(P):
                total[n, c, p] = a[n, c, p]
            for other in range(c - 1, max(c - before, 0) - 1, -1):
                for p in range(P):
                    total[n, c, p] += a[n, other, p]
            for other in range(c + 1, min(c + after, C - 1) + 1):
                for p in range(P):
                    total[n, c, p] += a[n, other, p]
    return total


@strict_helper
def _planes(x):
    return x.reshape((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))


@strict_helper
def _base(x, size, alpha, k):
    squares = np.empty(x.size, x.dtype)
    values, share, start = x.reshape(-1), x.dtype.type(alpha / size), x.dtype.type(k)
    for i in range(x.size):
        squares[i] = values[i] * values[i]
    base = _neighbours(squares.reshape(_planes(x).shape), size // 2, (size - 1) // 2).reshape(-1)
    for i in range(x.size):
        base[i] = base[i] * share + start
    return base


@linked
def normalised(where, x, size, alpha, beta, k):
    """x (N, C, H, W) over the power of its neighbours' mean square."""
    check_range(where, "size", size, 1)
    y = np.empty(x.shape, x.dtype)
    flat, values, base, power = y.reshape(-1), x.reshape(-1), _base(x, size, alpha, k), x.dtype.type(-beta)
    for i in range(x.size):
        flat[i] = values[i] * base[i] ** power
    return y


@linked
def gradient(where, g, x, size, alpha, beta, k):
    """The gradient of x."""
    check_range(where, "size", size, 1)
    grad, through_base = np.empty(x.shape, x.dtype), np.empty(x.size, x.dtype)
    direct, values, gs, base = grad.reshape(-1), x.reshape(-1), g.reshape(-1), _base(x, size, alpha, k)
    power, share = x.dtype.type(-beta), x.dtype.type(2 * alpha * beta / size)
    for i in range(x.size):
        direct[i] = gs[i] * base[i] ** power
        through_base[i] = direct[i] * values[i] / base[i]
    sums = _neighbours(through_base.reshape(_planes(x).shape), (size - 1) // 2, size // 2).reshape(-1)
    for i in range(x.size):
        direct[i] -= values[i] * sums[i] * share
    return grad


@compiled_as(functional.local_response_norm)
def _local_response_norm(x: Any, size: Any, alpha: Any, beta: Any, k: Any, layout: Any) -> Any:
    where = "local_response_norm"
    order, check = pixels_checker(where, x, layout)
    alpha_of, beta_of, k_of = _numbers(where, size, alpha, beta, k)
    read, deliver = images_reader(x, arguments.result_dtype(x), order), delivery(x.ndim, order)

    def compiled(x, size, alpha, beta, k, layout):
        check(x)
        y = normalised(where, read(x), np.int64(size), alpha_of(alpha), beta_of(beta), k_of(k))
        return deliver(y, None)

    return compiled


@compiled_as(functional.local_response_norm_backward)
def _local_response_norm_backward(
    grad_output: Any, x: Any, size: Any, alpha: Any, beta: Any, k: Any, layout: Any
) -> Any:  # fmt: skip
    where = "local_response_norm_backward"
    order, check = pixels_checker(where, x, layout)
    alpha_of, beta_of, k_of = _numbers(where, size, alpha, beta, k)
    arguments.gradient(where, grad_output, x.ndim)
    dtype = arguments.result_dtype(grad_output, x)
    read, read_g, deliver = (
        images_reader(x, dtype, order),
        images_reader(grad_output, dtype, order),
        delivery(x.ndim, order),
    )

    def compiled(grad_output, x, size, alpha, beta, k, layout):
        check(x)
        same_shape(where, "grad_output", grad_output, x.shape)
        numbers = alpha_of(alpha), beta_of(beta), k_of(k)
        grad = gradient(where, read_g(grad_output), read(x), np.int64(size), numbers[0], numbers[1], numbers[2])
        return deliver(grad, None)

    return compiled


def _numbers(where: str, size: Any, alpha: Any, beta: Any, k: Any) -> tuple[Any, Any, Any]:
    """The functions that give these numbers, checked."""
    arguments.whole(where, "size", size)
    named = ("alpha", alpha), ("beta", beta), ("k", k)
    of_alpha, of_beta, of_k = (arguments.number(where, name, kind) for name, kind in named)
    return of_alpha, of_beta, of_k
