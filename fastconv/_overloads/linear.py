"""Linear layers in jitted code: the kernels that Python calls."""

from __future__ import annotations

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.linear import check_linear, forward, gradients
from fastconv._overloads.arguments import new_array, new_gradients, per_channel, ready, zero_of
from fastconv._overloads.kinds import optional, ranked
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import jitable

ROWS = ranked("shape (N, IN) or (IN,), got {} dimensions", 1, 2)
WEIGHT = ranked("2 dimensions (OUT, IN), got {}", 2)
BIAS = optional(ranked("1 dimensions (OUT,), got {}", 1))


@jitable
def _rows(a):
    """A contiguous array of one dimension or two, as rows."""
    return a if a.ndim == 2 else a.reshape((1, a.size))


@compiled_as(functional.linear, x=ROWS, weight=WEIGHT, bias=BIAS)
def _linear(x, weight, bias, where):
    zero = zero_of(x, weight, bias)
    check_linear(where, x.shape, weight.shape)
    start = per_channel(where, "bias", bias, weight.shape[0], zero)
    y = new_array(where, (*x.shape[:-1], weight.shape[0]), zero)
    forward(_rows(ready(x, zero)), ready(weight, zero), start, y.dtype.type(-np.inf), _rows(y))
    return y


@jitable
def _rows_of(grad, like):
    """A gradient as rows: none where it is not needed."""
    return like[:0] if grad is None else _rows(grad)


@compiled_as(functional.linear_backward, x=ROWS, weight=WEIGHT)
def _linear_backward(grad_output, x, weight, needs, where):
    zero = zero_of(grad_output, x, weight)
    check_linear(where, x.shape, weight.shape)
    same_shape(where, "grad_output", grad_output, (*x.shape[:-1], weight.shape[0]))
    grads = new_gradients(where, needs, x.shape, weight.shape, weight.shape[0], zero)
    g, rows = _rows(ready(grad_output, zero)), _rows(ready(x, zero))
    kernel = ready(weight, zero)
    grad_x, grad_weight, grad_bias = grads
    biases = _rows_of(grad_bias, kernel).reshape(-1)
    gradients(g, rows, kernel, _rows_of(grad_x, rows), _rows_of(grad_weight, kernel), biases)
    return grads
