"""Activations and their gradients in jitted code.

ReLU and leaky ReLU are the kernels that Python calls. The others call NumPy's loops (`numpy_loops`) and have Python's
bits; the sums of softmax and log_softmax may not, as NumPy adds their terms pairwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._overloads import arguments
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import strict_helper
from fastconv._runtime.numpy_loops import exp, log
from fastconv._runtime.numpy_loops import tanh as tangent
from fastconv.errors import ShapeError
from fastconv.kernels import elementwise
from fastconv.kernels.activation import sigmoid as logistic

_relu, _relu_backward, _leak = elementwise.relu.serial, elementwise.relu_backward.serial, elementwise.leak.serial


@strict_helper
def relu(x):
    """max(x, 0)."""
    y = np.empty(x.shape, x.dtype)
    _relu(x.reshape(-1), y.reshape(-1))
    return y


@strict_helper
def relu_backward(g, y):
    """g where y > 0."""
    grad = np.empty(g.shape, g.dtype)
    _relu_backward(g.reshape(-1), y.reshape(-1), grad.reshape(-1))
    return grad


@strict_helper
def leaked(x, a, slope):
    """a where x > 0, else slope * a."""
    y = np.empty(x.shape, x.dtype)
    _leak(x.reshape(-1), a.reshape(-1), x.dtype.type(slope), y.reshape(-1))
    return y


@strict_helper
def _copied(x):
    y = np.empty(x.shape, x.dtype)
    flat, values = y.reshape(-1), x.reshape(-1)
    for i in range(x.size):
        flat[i] = values[i]
    return y


@strict_helper
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    y = _copied(x)
    logistic(y.reshape(-1), 0, y.size)
    return y


@strict_helper
def sigmoid_backward(g, y):
    """g * y * (1 - y)."""
    grad, one = np.empty(g.shape, g.dtype), g.dtype.type(1)
    flat, gs, ys = grad.reshape(-1), g.reshape(-1), y.reshape(-1)
    for i in range(g.size):
        flat[i] = gs[i] * (ys[i] * (one - ys[i]))
    return grad


@strict_helper
def tanh(x):
    """The hyperbolic tangent."""
    y = _copied(x)
    tangent(y.reshape(-1), 0, y.size)
    return y


@strict_helper
def tanh_backward(g, y):
    """g * (1 - y**2)."""
    grad, one = np.empty(g.shape, g.dtype), g.dtype.type(1)
    flat, gs, ys = grad.reshape(-1), g.reshape(-1), y.reshape(-1)
    for i in range(g.size):
        flat[i] = gs[i] * (one - ys[i] * ys[i])
    return grad


@strict_helper
def along(a, axis):
    """An array as (outer, K, inner), K along `axis`."""
    outer = inner = 1
    for i in range(a.ndim):
        if i < axis:
            outer *= a.shape[i]
        elif i > axis:
            inner *= a.shape[i]
    return a.reshape((outer, a.shape[axis], inner))


@strict_helper
def _shifted(x, axis):
    """x less its largest value along an axis, or NaN where there is one."""
    y = np.empty(x.shape, x.dtype)
    values, results = along(x, axis), along(y, axis)
    outer, K, inner = values.shape
    for o in range(outer):
        for i in range(inner):
            most = values[o, 0, i]
            for k in range(1, K):
                # NaN once taken stays, and is taken when it comes
                most = values[o, k, i] if values[o, k, i] > most or values[o, k, i] != values[o, k, i] else most
            for k in range(K):
                results[o, k, i] = values[o, k, i] - most
    return y


@strict_helper
def _totals(a, axis):
    """The sums along an axis, in float64 on the way: (outer, inner) of `along`."""
    values = along(a, axis)
    outer, K, inner = values.shape
    totals = np.empty((outer, inner), a.dtype)
    for o in range(outer):
        for i in range(inner):
            total = 0.0
            for k in range(K):
                total += values[o, k, i]
            totals[o, i] = total
    return totals


@strict_helper
def log_softmax(x, axis):
    """x - log(sum(exp(x)))."""
    y = _shifted(x, axis)
    powers = _copied(y)
    exp(powers.reshape(-1), 0, powers.size)
    logs, results = _totals(powers, axis), along(y, axis)
    log(logs.reshape(-1), 0, logs.size)
    outer, K, inner = results.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                results[o, k, i] -= logs[o, i]
    return y


@strict_helper
def log_softmax_backward(g, y, axis):
    """g - exp(y) * sum(g)."""
    grad = _copied(y)
    exp(grad.reshape(-1), 0, grad.size)
    gs, results, totals = along(g, axis), along(grad, axis), _totals(g, axis)
    outer, K, inner = gs.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                results[o, k, i] = gs[o, k, i] - results[o, k, i] * totals[o, i]
    return grad


@strict_helper
def softmax(x, axis):
    """exp(x) / sum(exp(x))."""
    y = _shifted(x, axis)
    exp(y.reshape(-1), 0, y.size)
    results, totals = along(y, axis), _totals(y, axis)
    outer, K, inner = results.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                results[o, k, i] /= totals[o, i]
    return y


@strict_helper
def softmax_backward(g, y, axis):
    """y * (g - sum(g * y))."""
    grad = np.empty(g.shape, g.dtype)
    flat, g_values, y_values = grad.reshape(-1), g.reshape(-1), y.reshape(-1)
    for i in range(g.size):
        flat[i] = g_values[i] * y_values[i]
    gs, ys, results, totals = along(g, axis), along(y, axis), along(grad, axis), _totals(grad, axis)
    outer, K, inner = gs.shape
    for o in range(outer):
        for k in range(K):
            for i in range(inner):
                results[o, k, i] = ys[o, k, i] * (gs[o, k, i] - totals[o, i])
    return grad


@strict_helper
def checked_axis(where, axis, shape):
    """`axis` of an array of this shape, from its first."""
    check_range(where, "axis", axis, -len(shape))
    number = axis + len(shape) if axis < 0 else axis
    if number >= len(shape) or shape[number] < 1:
        raise ShapeError("{}: axis {} of an array of shape {} does not exist or is empty", where, axis, shape)
    return number


def _forward(function: Callable, compute: Any) -> None:
    where = function.__name__

    @compiled_as(function)
    def make(x: Any) -> Any:
        read = reader(arguments.array(where, "x", x), arguments.result_dtype(x))
        return lambda x: compute(read(x))


def _backward(function: Callable, compute: Any) -> None:
    where = function.__name__

    @compiled_as(function)
    def make(grad_output: Any, y: Any) -> Any:
        read_g, read_y = _both(where, grad_output, y)

        def compiled(grad_output, y):
            same_shape(where, "grad_output", grad_output, y.shape)
            return compute(read_g(grad_output), read_y(y))

        return compiled


def _forward_along(function: Callable, compute: Any) -> None:
    where = function.__name__

    @compiled_as(function)
    def make(x: Any, axis: Any) -> Any:
        read = reader(arguments.array(where, "x", x), arguments.result_dtype(x))
        arguments.whole(where, "axis", axis)
        return lambda x, axis: compute(read(x), checked_axis(where, np.int64(axis), x.shape))


def _backward_along(function: Callable, compute: Any) -> None:
    where = function.__name__

    @compiled_as(function)
    def make(grad_output: Any, y: Any, axis: Any) -> Any:
        read_g, read_y = _both(where, grad_output, y)
        arguments.whole(where, "axis", axis)

        def compiled(grad_output, y, axis):
            same_shape(where, "grad_output", grad_output, y.shape)
            return compute(read_g(grad_output), read_y(y), checked_axis(where, np.int64(axis), y.shape))

        return compiled


@compiled_as(functional.leaky_relu)
def _leaky_relu(x: Any, negative_slope: Any) -> Any:
    where = "leaky_relu"
    read = reader(arguments.array(where, "x", x), arguments.result_dtype(x))
    slope = arguments.number(where, "negative_slope", negative_slope)

    def compiled(x, negative_slope):
        values = read(x)
        return leaked(values, values, slope(negative_slope))

    return compiled


@compiled_as(functional.leaky_relu_backward)
def _leaky_relu_backward(grad_output: Any, x: Any, negative_slope: Any) -> Any:
    where = "leaky_relu_backward"
    read_g, read_x = _both(where, grad_output, x, "x")
    slope = arguments.number(where, "negative_slope", negative_slope)

    def compiled(grad_output, x, negative_slope):
        same_shape(where, "grad_output", grad_output, x.shape)
        return leaked(read_x(x), read_g(grad_output), slope(negative_slope))

    return compiled


def _both(where: str, grad_output: Any, y: Any, name: str = "y") -> tuple[Callable, Callable]:
    arguments.gradient(where, grad_output, arguments.array(where, name, y).ndim)
    dtype = arguments.result_dtype(grad_output, y)
    return reader(grad_output, dtype), reader(y, dtype)


_forward(functional.relu, relu)
_forward(functional.sigmoid, sigmoid)
_forward(functional.tanh, tanh)
_backward(functional.relu_backward, relu_backward)
_backward(functional.sigmoid_backward, sigmoid_backward)
_backward(functional.tanh_backward, tanh_backward)
_forward_along(functional.softmax, softmax)
_forward_along(functional.log_softmax, log_softmax)
_backward_along(functional.softmax_backward, softmax_backward)
_backward_along(functional.log_softmax_backward, log_softmax_backward)
