"""A convolution and its gradients from their sizes alone, planned and carried out: jitted code's way into the engine.

Python's is `calls`, which keeps what it has decided, does long calls in pieces, and can tell what it does.
"""

from __future__ import annotations

import numpy as np

from fastconv._engine import forward as forward_product
from fastconv._engine import input_gradient as input_product
from fastconv._engine import weight_gradient as weight_product
from fastconv._geometry.conv import Conv
from fastconv._plans.forward import check_winograd, plan_forward
from fastconv._plans.input_gradient import plan_input_gradient
from fastconv._plans.weight_gradient import plan_weight_gradient
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import linked
from fastconv._runtime.switches import winograd

_forward, _input_gradient = forward_product.forward, input_product.input_gradient
_weight_gradient = weight_product.weight_gradient


@linked
def convolve(
    where: str, conv: Conv, last: bool, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray
) -> None:
    """y = the convolution of x with weight, plus bias, if that has elements, with channels `last` or first."""
    convolve_by(where, conv, last, x, weight, bias, y, winograd())


@linked
def convolve_by(
    where: str, conv: Conv, last: bool, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray,
    by_winograd: int,
) -> None:  # fmt: skip
    """As `convolve`, by Winograd's algorithm as `Winograd` says."""
    check_winograd(where, conv, by_winograd)
    if y.size > 0:
        plan = plan_forward(conv, len(x), x.itemsize, last, HOST, by_winograd)
        start = bias if bias.size > 0 else np.zeros(conv.OC, y.dtype)
        _forward(where, plan, x, weight, start, y.dtype.type(-np.inf), y)


@linked
def input_gradient(
    where: str, conv: Conv, last: bool, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, grad: np.ndarray
) -> None:
    """grad = the gradient of x, plus bias, if that has elements: with one, a transposed convolution of g."""
    plan = plan_input_gradient(conv, len(g), g.itemsize, last, HOST, winograd())
    _input_gradient(where, plan, g, weight, bias if bias.size > 0 else np.zeros(conv.C, g.dtype), grad)


@linked
def weight_gradient(where: str, conv: Conv, last: bool, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> None:
    """grad = the gradient of the weights."""
    _weight_gradient(where, plan_weight_gradient(conv, len(g), g.itemsize, last, HOST, winograd()), g, x, grad)
