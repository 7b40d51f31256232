"""Dropout in jitted code, with the numbers of the NumPy generator that is given: those that Python would draw.

Numba cannot make a generator, so `rng` is never a seed or None here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._overloads import arguments
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv.errors import DTypeError
from fastconv.kernels.elementwise import kept


@register_jitable
def _dropped(x, mask, p):
    """x / (1 - p) where the mask is set, else 0."""
    y = np.empty(x.shape, x.dtype)
    factor = x.dtype.type(1 / (1 - p) if p < 1 else 1.0)  # of p = 1 nothing is left that it could meet
    kept(x.reshape(-1), mask.reshape(-1), factor, y.reshape(-1))
    return y


def _register(function: Callable, with_mask: bool) -> None:
    where = function.__name__

    @compiled_as(function)
    def make(x: Any, p: Any, rng: Any) -> Any:
        read = reader(arguments.array(where, "x", x), arguments.result_dtype(x))
        probability = arguments.number(where, "p", p, 0, 1)
        if not isinstance(rng, types.NumPyRandomGeneratorType):
            raise TypeError(
                f"{where}: rng must be a numpy.random.Generator inside jitted code, got {arguments.shown(rng)}"
            )

        def dropped(x, p, rng):
            share = probability(p)
            mask = (rng.random(x.size, np.float32) >= np.float32(share)).reshape(x.shape)
            return _dropped(read(x), mask, share), mask

        both = register_jitable(dropped)
        return both if with_mask else lambda x, p, rng: both(x, p, rng)[0]


_register(functional.dropout, False)
_register(functional.dropout_with_mask, True)


@compiled_as(functional.dropout_backward)
def _dropout_backward(grad_output: Any, mask: Any, p: Any) -> Any:
    where = "dropout_backward"
    read = reader(arguments.array(where, "grad_output", grad_output), arguments.result_dtype(grad_output))
    if not isinstance(arguments.array(where, "mask", mask).dtype, types.Boolean):
        raise DTypeError(f"{where}: mask must hold booleans, got {mask.dtype}")
    arguments.rank(where, "mask", mask, grad_output.ndim, "as grad_output has")
    read_mask, probability = reader(mask, np.dtype(np.bool_)), arguments.number(where, "p", p, 0, 1)

    def compiled(grad_output, mask, p):
        same_shape(where, "mask", mask, grad_output.shape)
        return _dropped(read(grad_output), read_mask(mask), probability(p))

    return compiled
