"""Dropout in jitted code, with the numbers of the NumPy generator that is given: those that Python would draw.

Numba cannot make a generator, so `rng` is never a seed or None here.
"""

from __future__ import annotations

import numpy as np
from numba import types

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._overloads.arguments import number
from fastconv._overloads.arrays import ready, zero_of
from fastconv._overloads.kinds import Call, array, like, shown
from fastconv._overloads.register import compiled_as, text
from fastconv._runtime.jit import jitable
from fastconv.errors import DTypeError
from fastconv.kernels.elementwise import kept


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
        raise TypeError(f"{where}: rng must be a numpy.random.Generator inside jitted code, got {shown(call[name])}")


@compiled_as(functional.dropout, x=array, rng=_generator)
def _dropout(x, p, rng):
    return _drawn("dropout", x, p, rng)[0]


@compiled_as(functional.dropout_with_mask, x=array, rng=_generator)
def _dropout_with_mask(x, p, rng):
    return _drawn("dropout_with_mask", x, p, rng)


def _mask(where: str, name: str, call: Call) -> None:
    array(where, name, call)
    if not isinstance(call[name].dtype, types.Boolean):
        raise DTypeError(f"{where}: mask must hold booleans, got {call[name].dtype}")
    like("grad_output", " as grad_output has")(where, name, call)


@compiled_as(functional.dropout_backward, grad_output=array, mask=_mask)
def _dropout_backward(grad_output, mask, p):
    where = "dropout_backward"
    same_shape(where, "mask", mask, grad_output.shape)
    return _dropped(ready(grad_output, zero_of(grad_output)), ready(mask, np.bool_(False)), number(where, "p", p))
