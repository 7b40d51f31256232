"""Activations and their gradients in jitted code.

ReLU and leaky ReLU are the kernels that Python calls. The others call NumPy's loops (`numpy_loops`) and have Python's
bits; the sums of softmax and log_softmax may not, as NumPy adds their terms pairwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_axis
from fastconv._engine.activation import leaked, relu, relu6, relu6_backward, relu_backward
from fastconv._overloads.arguments import number
from fastconv._overloads.arrays import ready, zero_of
from fastconv._overloads.kinds import array, like
from fastconv._overloads.register import compiled_as
from fastconv.kernels import activation, softmax


def _forward(function: Callable, compute: Callable) -> None:
    @compiled_as(function, x=array)
    def compiled(x):
        return compute(ready(x, zero_of(x)))


def _backward(function: Callable, compute: Callable) -> None:
    where = function.__name__

    @compiled_as(function, grad_output=like("y"))
    def compiled(grad_output, y):
        same_shape(where, "grad_output", grad_output, y.shape)
        zero = zero_of(grad_output, y)
        return compute(ready(grad_output, zero), ready(y, zero))


def _forward_along(function: Callable, compute: Callable) -> None:
    where = function.__name__

    @compiled_as(function, x=array)
    def compiled(x, axis):
        return compute(ready(x, zero_of(x)), check_axis(where, np.int64(axis), x.shape))


def _backward_along(function: Callable, compute: Callable) -> None:
    where = function.__name__

    @compiled_as(function, grad_output=like("y"))
    def compiled(grad_output, y, axis):
        same_shape(where, "grad_output", grad_output, y.shape)
        zero = zero_of(grad_output, y)
        return compute(ready(grad_output, zero), ready(y, zero), check_axis(where, np.int64(axis), y.shape))


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


@compiled_as(functional.leaky_relu, x=array)
def _leaky_relu(x, negative_slope):
    values = ready(x, zero_of(x))
    return leaked(values, values, number("leaky_relu", "negative_slope", negative_slope))


@compiled_as(functional.leaky_relu_backward, x=array)
def _leaky_relu_backward(grad_output, x, negative_slope):
    where, zero = "leaky_relu_backward", zero_of(grad_output, x)
    same_shape(where, "grad_output", grad_output, x.shape)
    return leaked(ready(x, zero), ready(grad_output, zero), number(where, "negative_slope", negative_slope))
