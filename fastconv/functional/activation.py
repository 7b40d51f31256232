"""Activations and their gradients.

Those in `_engine/activation.py` run on the kernels' threads. The others are NumPy's: its vectorised exp and tanh beat a
scalar loop on two cores. NumPy gives scalars for arrays without dimensions; what is returned here is always an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import check_axis, integer
from fastconv._engine import activation as rectifiers
from fastconv._runtime.backend import on_numpy


def _float(where: str, name: str, value: Any) -> tuple[np.ndarray, np.dtype]:
    """`value` ready for a kernel in the dtype it is computed in, and the dtype of the result."""
    array = arrays.numeric(where, name, value)
    dtype = arrays.result_dtype(array)
    return ready(array, arrays.compute_dtype(dtype)), dtype


def _both(where: str, grad_output: Any, y: Any, name: str = "y") -> tuple[np.ndarray, np.ndarray, np.dtype]:
    """A gradient and the result (or argument) it belongs to, of one shape and dtype."""
    g, result = arrays.numeric(where, "grad_output", grad_output), arrays.numeric(where, name, y)
    arrays.same_shape(where, "grad_output", g, result.shape)
    dtype = arrays.result_dtype(g, result)
    compute = arrays.compute_dtype(dtype)
    return ready(g, compute), ready(result, compute), dtype


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), NaN where x is NaN, for an array of any shape.

    Raises:
        TypeError: x is not a numeric array.

    Example:
        >>> relu(np.array([-1.0, 2.0]))
        array([0., 2.])
    """
    values, dtype = _float("relu", "x", x)
    if on_numpy():
        return np.asarray(reference.relu(values), dtype)
    return np.asarray(rectifiers.relu(values), dtype)


def relu_backward(grad_output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_output where y = relu(x) is positive, else 0.

    Raises:
        ShapeError: the shapes differ.
        TypeError: an argument is not a numeric array.

    Example:
        >>> relu_backward(np.array([5.0, 6.0]), np.array([0.0, 2.0]))
        array([0., 6.])
    """
    g, result, dtype = _both("relu_backward", grad_output, y)
    if on_numpy():
        return np.asarray(reference.relu_backward(g, result), dtype)
    return np.asarray(rectifiers.relu_backward(g, result), dtype)


def relu6(x: np.ndarray) -> np.ndarray:
    """min(max(x, 0), 6), NaN where x is NaN, for an array of any shape.

    Raises:
        TypeError: x is not a numeric array.

    Example:
        >>> relu6(np.array([-1.0, 2.0, 7.0]))
        array([0., 2., 6.])
    """
    values, dtype = _float("relu6", "x", x)
    if on_numpy():
        return np.asarray(reference.relu6(values), dtype)
    return np.asarray(rectifiers.relu6(values), dtype)


def relu6_backward(grad_output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_output where y = relu6(x) is between 0 and 6, else 0.

    Raises:
        ShapeError: the shapes differ.
        TypeError: an argument is not a numeric array.

    Example:
        >>> relu6_backward(np.array([4.0, 5.0, 6.0]), np.array([0.0, 2.0, 6.0]))
        array([0., 5., 0.])
    """
    g, result, dtype = _both("relu6_backward", grad_output, y)
    if on_numpy():
        return np.asarray(reference.relu6_backward(g, result), dtype)
    return np.asarray(rectifiers.relu6_backward(g, result), dtype)


def leaky_relu(x: np.ndarray, negative_slope: float = 0.01) -> np.ndarray:
    """x where x > 0, else negative_slope * x, for an array of any shape.

    Raises:
        ValueError: negative_slope is not finite.
        TypeError: x is not a numeric array, or negative_slope not a number.

    Example:
        >>> leaky_relu(np.array([-1.0, 2.0]), 0.25)
        array([-0.25,  2.  ])
    """
    values, dtype = _float("leaky_relu", "x", x)
    slope = number("leaky_relu", "negative_slope", negative_slope)
    if on_numpy():
        return np.asarray(reference.leaky_relu(values, slope), dtype)
    return np.asarray(rectifiers.leaked(values, values, slope), dtype)


def leaky_relu_backward(grad_output: np.ndarray, x: np.ndarray, negative_slope: float = 0.01) -> np.ndarray:
    """grad_output where x > 0, else negative_slope * grad_output; x is the argument of `leaky_relu`, not its result.

    Raises:
        ShapeError: the shapes differ.
        ValueError: negative_slope is not finite.
        TypeError: an argument is not a numeric array, or negative_slope not a number.

    Example:
        >>> leaky_relu_backward(np.array([4.0, 8.0]), np.array([-1.0, 2.0]), 0.25)
        array([1., 8.])
    """
    g, values, dtype = _both("leaky_relu_backward", grad_output, x, "x")
    slope = number("leaky_relu_backward", "negative_slope", negative_slope)
    if on_numpy():
        return np.asarray(reference.leaky_relu_backward(g, values, slope), dtype)
    return np.asarray(rectifiers.leaked(values, g, slope), dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow, for an array of any shape.

    Raises:
        TypeError: x is not a numeric array.

    Example:
        >>> sigmoid(np.array([0.0]))
        array([0.5])
    """
    values, dtype = _float("sigmoid", "x", x)
    if on_numpy():
        return np.asarray(reference.sigmoid(values), dtype)
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, values.dtype.type(1), small) / (1 + small), dtype)


def sigmoid_backward(grad_output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_output * y * (1 - y) for y = sigmoid(x).

    Raises:
        ShapeError: the shapes differ.
        TypeError: an argument is not a numeric array.

    Example:
        >>> sigmoid_backward(np.array([4.0]), np.array([0.5]))
        array([1.])
    """
    g, result, dtype = _both("sigmoid_backward", grad_output, y)
    if on_numpy():
        return np.asarray(reference.sigmoid_backward(g, result), dtype)
    return np.asarray(g * (result * (1 - result)), dtype)


def tanh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent, for an array of any shape.

    Raises:
        TypeError: x is not a numeric array.

    Example:
        >>> tanh(np.array([0.0]))
        array([0.])
    """
    values, dtype = _float("tanh", "x", x)
    return np.asarray(reference.tanh(values) if on_numpy() else np.tanh(values), dtype)


def tanh_backward(grad_output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_output * (1 - y**2) for y = tanh(x).

    Raises:
        ShapeError: the shapes differ.
        TypeError: an argument is not a numeric array.

    Example:
        >>> tanh_backward(np.array([4.0]), np.array([0.5]))
        array([3.])
    """
    g, result, dtype = _both("tanh_backward", grad_output, y)
    if on_numpy():
        return np.asarray(reference.tanh_backward(g, result), dtype)
    return np.asarray(g * (1 - result * result), dtype)


def _axis(where: str, array: np.ndarray, axis: Any) -> int:
    return check_axis(where, integer(where, "axis", axis, -array.ndim), array.shape)


def _total(values: np.ndarray, axis: int) -> np.ndarray:
    """The sum along an axis, in float64 on the way: it may have many terms of one sign."""
    return values.sum(axis=axis, keepdims=True, dtype=np.float64).astype(values.dtype)


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """x - log(sum(exp(x))) along an axis, without overflow.

    Raises:
        ShapeError: there is no such axis, or nothing along it.
        TypeError: x is not a numeric array.

    Example:
        >>> np.exp(log_softmax(np.array([1.0, 1.0])))
        array([0.5, 0.5])
    """
    values, dtype = _float("log_softmax", "x", x)
    axis = _axis("log_softmax", values, axis)
    if on_numpy():
        return np.asarray(reference.log_softmax(values, axis), dtype)
    shifted = values - values.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(_total(np.exp(shifted), axis)), dtype)


def log_softmax_backward(grad_output: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """grad_output - exp(y) * sum(grad_output) along an axis, for y = log_softmax(x).

    Raises:
        ShapeError: the shapes differ, or there is no such axis.
        TypeError: an argument is not a numeric array.

    Example:
        >>> log_softmax_backward(np.array([1.0, 0.0]), np.log(np.array([0.5, 0.5])))
        array([ 0.5, -0.5])
    """
    g, result, dtype = _both("log_softmax_backward", grad_output, y)
    axis = _axis("log_softmax_backward", result, axis)
    if on_numpy():
        return np.asarray(reference.log_softmax_backward(g, result, axis), dtype)
    return np.asarray(g - np.exp(result) * _total(g, axis), dtype)


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """exp(x) / sum(exp(x)) along an axis, without overflow.

    Raises:
        ShapeError: there is no such axis, or nothing along it.
        TypeError: x is not a numeric array.

    Example:
        >>> softmax(np.array([1000.0, 1000.0]))
        array([0.5, 0.5])
    """
    values, dtype = _float("softmax", "x", x)
    axis = _axis("softmax", values, axis)
    if on_numpy():
        return np.asarray(reference.softmax(values, axis), dtype)
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(powers / _total(powers, axis), dtype)


def softmax_backward(grad_output: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """y * (grad_output - sum(grad_output * y)) along an axis, for y = softmax(x).

    Raises:
        ShapeError: the shapes differ, or there is no such axis.
        TypeError: an argument is not a numeric array.

    Example:
        >>> softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
        array([ 0.25, -0.25])
    """
    g, result, dtype = _both("softmax_backward", grad_output, y)
    axis = _axis("softmax_backward", result, axis)
    if on_numpy():
        return np.asarray(reference.softmax_backward(g, result, axis), dtype)
    return np.asarray(result * (g - _total(g * result, axis)), dtype)
