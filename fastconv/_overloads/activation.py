"""Functions of single elements or of rows in jitted code: activations, dropout and cross_entropy.

ReLU and leaky ReLU are the kernels that Python calls. The others call NumPy's loops (`numpy_loops`) and have Python's
bits; the sums of softmax and log_softmax may not, as NumPy adds their terms pairwise, nor that of the losses.

Numba cannot make a generator, so the `rng` of dropout is never a seed or None: it draws what Python would draw.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import types

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_axis
from fastconv._engine.activation import leaked, relu, relu6, relu6_backward, relu_backward
from fastconv._engine.loss import ID_OUTSIDE, check_classes, mean_cross_entropy
from fastconv._overloads.arguments import number, ready, zero_of
from fastconv._overloads.kinds import Call, Shown, array, like, ranked
from fastconv._overloads.register import compiled_as, text
from fastconv._runtime.jit import jitable
from fastconv.errors import DTypeError, RangeError
from fastconv.kernels import activation, softmax
from fastconv.kernels.elementwise import kept, one_hot


def _forward(function: Callable, compute: Callable) -> None:
    @compiled_as(function, x=array)
    def compiled(x, where):
        return compute(ready(x, zero_of(x)))


def _backward(function: Callable, compute: Callable) -> None:
    @compiled_as(function, grad_output=like("y"))
    def compiled(grad_output, y, where):
        same_shape(where, "grad_output", grad_output, y.shape)
        zero = zero_of(grad_output, y)
        return compute(ready(grad_output, zero), ready(y, zero))


def _forward_along(function: Callable, compute: Callable) -> None:
    @compiled_as(function, x=array)
    def compiled(x, axis, where):
        return compute(ready(x, zero_of(x)), check_axis(where, np.int64(axis), x.shape))


def _backward_along(function: Callable, compute: Callable) -> None:
    @compiled_as(function, grad_output=like("y"))
    def compiled(grad_output, y, axis, where):
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
def _leaky_relu(x, negative_slope, where):
    values = ready(x, zero_of(x))
    return leaked(values, values, number(where, "negative_slope", negative_slope))


@compiled_as(functional.leaky_relu_backward, x=array)
def _leaky_relu_backward(grad_output, x, negative_slope, where):
    zero = zero_of(grad_output, x)
    same_shape(where, "grad_output", grad_output, x.shape)
    return leaked(ready(x, zero), ready(grad_output, zero), number(where, "negative_slope", negative_slope))


@jitable
def _dropped(x, mask, p):
    """x / (1 - p) where the mask is set, else 0."""
    y = np.empty(x.shape, x.dtype)
    factor = x.dtype.type(1 / (1 - p) if p < 1 else 1.0)  # of p = 1 nothing is left that it could meet
    kept(x.reshape(-1), mask.reshape(-1), factor, y.reshape(-1))
    return y


@text
def _drawn(where, x, p, rng):
    share = number(where, "p", p)
    mask = (rng.random(x.size, np.float32) >= np.float32(share)).reshape(x.shape)
    return _dropped(ready(x, zero_of(x)), mask, share), mask


def _generator(where: str, name: str, call: Call) -> None:
    if not isinstance(call[name], types.NumPyRandomGeneratorType):
        raise TypeError(f"{where}: rng must be a numpy.random.Generator inside jitted code, got {Shown(call[name])!r}")


@compiled_as(functional.dropout, x=array, rng=_generator)
def _dropout(x, p, rng, where):
    return _drawn(where, x, p, rng)[0]


@compiled_as(functional.dropout_with_mask, x=array, rng=_generator)
def _dropout_with_mask(x, p, rng, where):
    return _drawn(where, x, p, rng)


def _mask(where: str, name: str, call: Call) -> None:
    array(where, name, call)
    if not isinstance(call[name].dtype, types.Boolean):
        raise DTypeError(f"{where}: mask must hold booleans, got {call[name].dtype}")
    like("grad_output", " as grad_output has")(where, name, call)


@compiled_as(functional.dropout_backward, grad_output=array, mask=_mask)
def _dropout_backward(grad_output, mask, p, where):
    same_shape(where, "mask", mask, grad_output.shape)
    return _dropped(ready(grad_output, zero_of(grad_output)), ready(mask, np.bool_(False)), number(where, "p", p))


def _target(where: str, name: str, call: Call) -> None:
    ranked("shape (N,) or (N, K), got {} dimensions", 1, 2)(where, name, call)
    if call[name].ndim == 1 and not isinstance(call[name].dtype, types.Integer):
        raise DTypeError(f"{where}: target must hold class ids as integers, got {call[name].dtype}")


@text
def _weights(where, logits, target):
    """The weights of the classes: those that are given, or 1 for that of each id."""
    if target.ndim == 2:
        same_shape(where, "target", target, logits.shape)
        return ready(target, logits.dtype.type(0))
    same_shape(where, "target", target, (logits.shape[0],))
    weights, ids = np.zeros(logits.shape, logits.dtype), ready(target, np.int64(0))
    bad = one_hot(ids, weights)
    if bad >= 0:
        raise RangeError(ID_OUTSIDE, where, "target", logits.shape[1] - 1, ids[bad])
    return weights


@compiled_as(functional.cross_entropy, logits=ranked("2 dimensions (N, K), got {}", 2), target=_target)
def _cross_entropy(logits, target, label_smoothing, where):
    check_classes(where, logits)
    values = ready(logits, zero_of(logits))
    weights, grad = _weights(where, values, target), np.empty(values.shape, values.dtype)
    return mean_cross_entropy(values, weights, number(where, "label_smoothing", label_smoothing), grad), grad
