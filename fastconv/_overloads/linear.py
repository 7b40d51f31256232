"""Linear layers in jitted code: the kernels that Python calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import check_memory, same_shape
from fastconv._overloads import arguments
from fastconv._overloads.arguments import if_wanted, is_none, wanted
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked, strict_helper
from fastconv.errors import ShapeError
from fastconv.kernels import gemm as kernels

product, product_transposed = kernels.matmul, kernels.matmul_transposed


@linked
def one_row(a):
    """a (K,) as (1, K)."""
    return a.reshape((1, a.size))


@linked
def no_bias(weight):
    """Zeros for each output of weight (OUT, IN)."""
    return np.zeros(weight.shape[0], weight.dtype)


@linked
def affine(where, x, weight, bias):
    """x @ weight.T + bias, for x (N, IN)."""
    shape = (x.shape[0], weight.shape[0])
    check_memory(where, "the result", shape, x.itemsize)
    y = np.empty(shape, x.dtype)
    product_transposed(x, weight, bias, x.dtype.type(-np.inf), y)
    return y


@strict_helper
def _times(a, a_row, a_column, b, M):
    c = np.empty((1, M, b.shape[1]), a.dtype)
    product(a.reshape(-1), a_row, a_column, b.reshape((1, *b.shape)), np.zeros(M, a.dtype), True, c)
    return c[0]


@linked
def grad_x(g, x, weight):
    """The gradient of x (N, IN)."""
    return _times(g, g.shape[1], np.int64(1), weight, g.shape[0])


@linked
def grad_weight(g, x, weight):
    """The gradient of weight (OUT, IN)."""
    return _times(g, np.int64(1), g.shape[1], x, g.shape[1])


@linked
def grad_bias(g):
    """The gradient of the bias (OUT,)."""
    total = np.zeros(g.shape[1])
    for n in range(g.shape[0]):
        for k in range(g.shape[1]):
            total[k] += g[n, k]
    return total.astype(g.dtype)


@register_jitable
def _check(where, x, weight):
    if weight.shape[0] < 1 or weight.shape[1] < 1:
        raise ShapeError("{}: weight must have shape (OUT, IN) without a zero, got {}", where, weight.shape)
    if x.shape[x.ndim - 1] != weight.shape[1]:
        raise ShapeError("{}: weight takes {} inputs, x has shape {}", where, weight.shape[1], x.shape)


def _checked(where: str, x: Any, weight: Any) -> None:
    if arguments.array(where, "x", x).ndim not in (1, 2):
        raise ShapeError(f"{where}: x must have shape (N, IN) or (IN,), got {x.ndim} dimensions")
    arguments.rank(where, "weight", arguments.array(where, "weight", weight), 2, "(OUT, IN)")


def _rows_reader(kind: Any, dtype: np.dtype) -> Any:
    read = reader(kind, dtype)
    return read if kind.ndim == 2 else register_jitable(lambda a: one_row(read(a)))


def _as_given(ndim: int) -> Any:
    return register_jitable((lambda a: a) if ndim == 2 else (lambda a: a[0]))


@compiled_as(functional.linear)
def _linear(x: Any, weight: Any, bias: Any) -> Any:
    where = "linear"
    _checked(where, x, weight)
    plain = is_none(bias)
    if not plain:
        arguments.rank(where, "bias", arguments.array(where, "bias", bias), 1, "(OUT,)")
    dtype = arguments.result_dtype(x, weight, None if plain else bias)
    read_x, read_weight, final = _rows_reader(x, dtype), reader(weight, dtype), _as_given(x.ndim)
    read_bias = None if plain else reader(bias, dtype)

    def checked(bias, given, weight):
        same_shape(where, "bias", bias, (given.shape[0],))
        return read_bias(bias)

    biases = register_jitable((lambda bias, given, weight: no_bias(weight)) if plain else checked)

    def compiled(x, weight, bias):
        _check(where, x, weight)
        w = read_weight(weight)
        return final(affine(where, read_x(x), w, biases(bias, weight, w)))

    return compiled


@compiled_as(functional.linear_backward)
def _linear_backward(grad_output: Any, x: Any, weight: Any, needs: Any) -> Any:
    where = "linear_backward"
    wants = wanted(where, needs)
    _checked(where, x, weight)
    arguments.gradient(where, grad_output, x.ndim)
    dtype = arguments.result_dtype(grad_output, x, weight)
    read_g, read_x, read_weight = _rows_reader(grad_output, dtype), _rows_reader(x, dtype), reader(weight, dtype)
    final, batch = _as_given(x.ndim), x.ndim == 2
    of_x = if_wanted(wants[0], lambda g, rows, weight: final(grad_x(g, rows, weight)))
    of_weight = if_wanted(wants[1], lambda g, rows, weight: grad_weight(g, rows, weight))
    of_bias = if_wanted(wants[2], lambda g: grad_bias(g))
    shape = register_jitable((lambda x, w: (x.shape[0], w.shape[0])) if batch else (lambda x, w: (w.shape[0],)))

    def compiled(grad_output, x, weight, needs):
        _check(where, x, weight)
        same_shape(where, "grad_output", grad_output, shape(x, weight))
        g, rows, w = read_g(grad_output), read_x(x), read_weight(weight)
        return of_x(g, rows, w), of_weight(g, rows, w), of_bias(g)

    return compiled
