"""Activations that have kernels: one text for Python and for jitted code."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._runtime.jit import linked
from fastconv.kernels import elementwise


@linked
def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)."""
    y = empty("relu", x.shape, x.dtype, "the result")
    elementwise.relu(x.reshape(-1), y.reshape(-1))
    return y


@linked
def relu_backward(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`g` where y > 0, else 0."""
    grad_x = empty("relu_backward", g.shape, g.dtype, "the result")
    elementwise.relu_backward(g.reshape(-1), y.reshape(-1), grad_x.reshape(-1))
    return grad_x


@linked
def relu6(x: np.ndarray) -> np.ndarray:
    """min(max(x, 0), 6)."""
    y = empty("relu6", x.shape, x.dtype, "the result")
    elementwise.relu6(x.reshape(-1), y.reshape(-1))
    return y


@linked
def relu6_backward(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`g` where 0 < y < 6, else 0."""
    grad_x = empty("relu6_backward", g.shape, g.dtype, "the result")
    elementwise.relu6_backward(g.reshape(-1), y.reshape(-1), grad_x.reshape(-1))
    return grad_x


@linked
def leaked(x: np.ndarray, a: np.ndarray, slope: float) -> np.ndarray:
    """`a` where x > 0, else slope * a: leaky ReLU for a = x, its gradient for a = that of the result."""
    y = empty("leaky_relu", x.shape, x.dtype, "the result")
    elementwise.leak(x.reshape(-1), a.reshape(-1), x.dtype.type(slope), y.reshape(-1))
    return y
