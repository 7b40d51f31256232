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
from fastconv._arguments.sizes import check_axis
from fastconv._overloads import arguments
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv.kernels import activation, elementwise, softmax
from fastconv.kernels.elementwise import leak
from fastconv.kernels.softmax import along


def _one(where: str, x: Any) -> Callable:
    return reader(arguments.array(where, "x", x), arguments.result_dtype(x))


def _both(where: str, grad_output: Any, y: Any, name: str = "y") -> tuple[Callable, Callable]:
    arguments.gradient(where, grad_output, arguments.array(where, name, y).ndim)
    dtype = arguments.result_dtype(grad_output, y)
    return reader(grad_output, dtype), reader(y, dtype)


def _forward(function: Callable, compute: Any) -> None:
    """By compute(x, y) of flat arrays."""

    @compiled_as(function)
    def make(x: Any) -> Any:
        read = _one(function.__name__, x)

        def compiled(x):
            values = read(x)
            y = np.empty(values.shape, values.dtype)
            compute(values.reshape(-1), y.reshape(-1))
            return y

        return compiled


def _backward(function: Callable, compute: Any) -> None:
    """By compute(grad_output, y, grad_x) of flat arrays."""
    where = function.__name__

    @compiled_as(function)
    def make(grad_output: Any, y: Any) -> Any:
        read_g, read_y = _both(where, grad_output, y)

        def compiled(grad_output, y):
            same_shape(where, "grad_output", grad_output, y.shape)
            g, result = read_g(grad_output), read_y(y)
            grad_x = np.empty(g.shape, g.dtype)
            compute(g.reshape(-1), result.reshape(-1), grad_x.reshape(-1))
            return grad_x

        return compiled


def _forward_along(function: Callable, compute: Any) -> None:
    """By compute(x, y) of arrays (outer, K, inner)."""
    where = function.__name__

    @compiled_as(function)
    def make(x: Any, axis: Any) -> Any:
        read = _one(where, x)
        arguments.whole(where, "axis", axis)

        def compiled(x, axis):
            number, values = check_axis(where, np.int64(axis), x.shape), read(x)
            y = np.empty(values.shape, values.dtype)
            compute(along(values, number), along(y, number))
            return y

        return compiled


def _backward_along(function: Callable, compute: Any) -> None:
    """By compute(grad_output, y, grad_x) of arrays (outer, K, inner)."""
    where = function.__name__

    @compiled_as(function)
    def make(grad_output: Any, y: Any, axis: Any) -> Any:
        read_g, read_y = _both(where, grad_output, y)
        arguments.whole(where, "axis", axis)

        def compiled(grad_output, y, axis):
            same_shape(where, "grad_output", grad_output, y.shape)
            number, g = check_axis(where, np.int64(axis), y.shape), read_g(grad_output)
            grad_x = np.empty(g.shape, g.dtype)
            compute(along(g, number), along(read_y(y), number), along(grad_x, number))
            return grad_x

        return compiled


_forward(functional.relu, elementwise.relu)
_forward(functional.sigmoid, activation.sigmoid_forward)
_forward(functional.tanh, activation.tanh_forward)
_backward(functional.relu_backward, elementwise.relu_backward)
_backward(functional.sigmoid_backward, activation.sigmoid_backward)
_backward(functional.tanh_backward, activation.tanh_backward)
_forward_along(functional.softmax, softmax.softmax)
_forward_along(functional.log_softmax, softmax.log_softmax)
_backward_along(functional.softmax_backward, softmax.softmax_backward)
_backward_along(functional.log_softmax_backward, softmax.log_softmax_backward)


@compiled_as(functional.leaky_relu)
def _leaky_relu(x: Any, negative_slope: Any) -> Any:
    where = "leaky_relu"
    read, slope = _one(where, x), arguments.number(where, "negative_slope", negative_slope)

    def compiled(x, negative_slope):
        values, number = read(x), slope(negative_slope)
        y, flat = np.empty(values.shape, values.dtype), values.reshape(-1)
        leak(flat, flat, values.dtype.type(number), y.reshape(-1))
        return y

    return compiled


@compiled_as(functional.leaky_relu_backward)
def _leaky_relu_backward(grad_output: Any, x: Any, negative_slope: Any) -> Any:
    where = "leaky_relu_backward"
    read_g, read_x = _both(where, grad_output, x, "x")
    slope = arguments.number(where, "negative_slope", negative_slope)

    def compiled(grad_output, x, negative_slope):
        same_shape(where, "grad_output", grad_output, x.shape)
        g, number = read_g(grad_output), slope(negative_slope)
        grad_x = np.empty(g.shape, g.dtype)
        leak(read_x(x).reshape(-1), g.reshape(-1), g.dtype.type(number), grad_x.reshape(-1))
        return grad_x

    return compiled
