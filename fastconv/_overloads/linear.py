"""Linear layers in jitted code: the kernels that Python calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import empty, same_shape
from fastconv._engine.linear import check_linear, product
from fastconv._overloads import arguments
from fastconv._overloads.arguments import if_wanted, is_none, wanted
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv.errors import ShapeError
from fastconv.kernels.gemm import column_sums, matmul_transposed


def _checked(where: str, x: Any, weight: Any) -> None:
    if arguments.array(where, "x", x).ndim not in (1, 2):
        raise ShapeError(f"{where}: x must have shape (N, IN) or (IN,), got {x.ndim} dimensions")
    arguments.rank(where, "weight", arguments.array(where, "weight", weight), 2, "(OUT, IN)")


def _rows_reader(kind: Any, dtype: np.dtype) -> Any:
    """The function that gives an array of this type, of one dimension or two, as rows for kernels."""
    read = reader(kind, dtype)
    return read if kind.ndim == 2 else register_jitable(lambda a: read(a).reshape((1, a.size)))


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
    read_bias, element, lowest = None if plain else reader(bias, dtype), dtype.type, dtype.type(-np.inf)

    def checked(bias, OUT):
        same_shape(where, "bias", bias, (OUT,))
        return read_bias(bias)

    biases = register_jitable((lambda bias, OUT: np.zeros(OUT, element)) if plain else checked)

    def compiled(x, weight, bias):
        check_linear(where, x, weight)
        OUT = weight.shape[0]
        rows, start = read_x(x), biases(bias, OUT)
        y = empty(where, (rows.shape[0], OUT), rows.dtype, "the result")
        matmul_transposed(rows, read_weight(weight), start, lowest, y)
        return final(y)

    return compiled


@compiled_as(functional.linear_backward)
def _linear_backward(grad_output: Any, x: Any, weight: Any, needs: Any) -> Any:
    where = "linear_backward"
    wants = wanted(where, needs)
    _checked(where, x, weight)
    arguments.gradient(where, grad_output, x.ndim)
    dtype = arguments.result_dtype(grad_output, x, weight)
    read_g, read_x, read_weight = _rows_reader(grad_output, dtype), _rows_reader(x, dtype), reader(weight, dtype)
    final, batch, element, one = _as_given(x.ndim), x.ndim == 2, dtype.type, np.int64(1)

    def gradient_of_x(g, rows, weight):
        grad = np.empty(rows.shape, element)
        product(g.reshape(-1), g.shape[1], one, weight, grad)
        return final(grad)

    def gradient_of_weight(g, rows, weight):
        grad = np.empty(weight.shape, element)
        product(g.reshape(-1), one, g.shape[1], rows, grad)
        return grad

    def gradient_of_bias(g):
        grad = np.empty(g.shape[1], element)
        column_sums(g, grad)
        return grad

    of_x, of_weight = if_wanted(wants[0], gradient_of_x), if_wanted(wants[1], gradient_of_weight)
    of_bias = if_wanted(wants[2], gradient_of_bias)
    shape = register_jitable((lambda x, w: (x.shape[0], w.shape[0])) if batch else (lambda x, w: (w.shape[0],)))

    def compiled(grad_output, x, weight, needs):
        check_linear(where, x, weight)
        same_shape(where, "grad_output", grad_output, shape(x, weight))
        g, rows, w = read_g(grad_output), read_x(x), read_weight(weight)
        return of_x(g, rows, w), of_weight(g, rows, w), of_bias(g)

    return compiled
