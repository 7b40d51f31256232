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
from fastconv._engine.activation import leaked, relu, relu6, relu6_backward, relu_backward
from fastconv._overloads import arguments
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv.kernels import activation, softmax


def _one(where: str, x: Any) -> Callable:
    return reader(arguments.array(where, "x", x), arguments.result_dtype(x))


def _both(where: str, grad_output: Any, y: Any, name: str = "y") -> tuple[Callable, Callable]:
    arguments.gradient(where, grad_output, arguments.array(where, name, y).ndim)
    dtype = arguments.result_dtype(grad_output, y)
    return reader(grad_output, dtype), reader(y, dtype)


def _forward(function: Callable, compute: Any) -> None:
    @compiled_as(function)
    def make(x: Any) -> Any:
        read = _one(function.__name__, x)
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
        read = _one(where, x)
        arguments.whole(where, "axis", axis)

        def compiled(x, axis):
            return compute(read(x), check_axis(where, np.int64(axis), x.shape))

        return compiled


def _backward_along(function: Callable, compute: Any) -> None:
    where = function.__name__

    @compiled_as(function)
    def make(grad_output: Any, y: Any, axis: Any) -> Any:
        read_g, read_y = _both(where, grad_output, y)
        arguments.whole(where, "axis", axis)

        def compiled(grad_output, y, axis):
            same_shape(where, "grad_output", grad_output, y.shape)
            return compute(read_g(grad_output), read_y(y), check_axis(where, np.int64(axis), y.shape))

        return compiled


_forward(functional.relu, relu)
_forward(functional.relu6, relu6)
_forward(functional.sigmoid, activation.whole_sigmoid)
_forward(functional.tanh, activation.whole_tanh)
_backward(functional.relu_backward, relu_backward)
_backward(functional.relu6_backward, relu6_backward)
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
