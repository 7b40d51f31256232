"""batch_norm2d and its gradients in jitted code: the text that Python runs, numbers for each channel in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.batch_norm import check_batch, gradients, normalise, statistics
from fastconv._overloads import arguments
from fastconv._overloads.arguments import if_wanted, is_none, wanted
from fastconv._overloads.arrays import delivery, images_reader, reader, sizes_of
from fastconv._overloads.global_pool import pixels_checker
from fastconv._overloads.register import compiled_as
from fastconv.errors import DTypeError
from fastconv.kernels.batch_norm import move

_DOUBLE = np.dtype(np.float64)


def _channels(where: str, name: str, kind: Any, missing: float) -> Any:
    """The function that gives numbers for each of C channels as float64, `missing` for each where there are none."""
    if is_none(kind):
        return register_jitable(lambda a, C: np.full(C, missing))
    read = reader(arguments.array(where, name, kind), _DOUBLE)
    arguments.rank(where, name, kind, 1, "(C,)")

    def checked(a, C):
        same_shape(where, name, a, (C,))
        return read(a)

    return register_jitable(checked)


def _running(where: str, name: str, kind: Any, updated: bool) -> tuple[Any, Any]:
    """The functions that give running statistics as float64, checked, and that move them towards a batch's."""
    read, none = _channels(where, name, kind, np.nan), is_none(kind)
    floats, writeable = none or isinstance(kind.dtype, types.Float), none or kind.mutable
    missing = f"{where}: {name} must be given where training is False"
    no_floats = f"{where}: {name}, which training updates, must hold floats, got {None if none else kind.dtype}"
    not_writeable = f"{where}: {name}, which training updates, must be writeable"

    def checked(a, C, training):
        values = read(a, C)
        if none and not training:
            raise ValueError(missing)
        if training and updated and not floats:
            raise DTypeError(no_floats)
        if training and updated and not writeable:
            raise ValueError(not_writeable)
        return values

    moves = updated and floats and writeable and not none
    return register_jitable(checked), if_wanted(moves, lambda a, batch, factor, share: move(a, batch, factor, share))


def _statistics(
    where: str, x: Any, running_mean: Any, running_var: Any, training: Any, layout: Any, updated: bool = True
) -> Any:
    """The layout; the functions that give (mean, variance) as they are given, all checked, and that move each."""
    arguments.flag(where, "training", training)
    order, check = pixels_checker(where, x, layout)
    mean_of, move_mean = _running(where, "running_mean", running_mean, updated)
    var_of, move_var = _running(where, "running_var", running_var, updated)
    sizes = sizes_of(x.ndim, order)

    def given(x, running_mean, running_var, trains):
        check(x)
        N, C, H, W = sizes(x.shape)
        check_batch(where, N * H * W, x.shape, trains)
        return mean_of(running_mean, C, trains), var_of(running_var, C, trains)

    return order, register_jitable(given), move_mean, move_var


@compiled_as(functional.batch_norm2d)
def _batch_norm2d(
    x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: Any, momentum: Any, eps: Any,
    layout: Any,
) -> Any:  # fmt: skip
    where = "batch_norm2d"
    eps_of, share_of = arguments.number(where, "eps", eps, 0), arguments.number(where, "momentum", momentum, 0, 1)
    order, given, move_mean, move_var = _statistics(where, x, running_mean, running_var, training, layout)
    weight_of, bias_of = _channels(where, "weight", weight, 1.0), _channels(where, "bias", bias, 0.0)
    others = (arguments.optional_array(where, name, kind) for name, kind in (("weight", weight), ("bias", bias)))
    read, deliver = images_reader(x, arguments.result_dtype(x, *others), order), delivery(x.ndim, order)

    def compiled(x, running_mean, running_var, weight, bias, training, momentum, eps, layout):
        small, share, trains = eps_of(eps), share_of(momentum), bool(training)
        means, variances = given(x, running_mean, running_var, trains)
        C = means.size
        factors, shifts, images = weight_of(weight, C), bias_of(bias, C), read(x)
        mean, var = statistics(images, means, variances, trains)
        if trains and images.size > 0:
            count = images.size // C
            move_mean(running_mean, mean, 1.0, share)
            move_var(running_var, var, count / (count - 1), share)
        y = np.empty(images.shape, images.dtype)
        normalise(images, mean, var, factors, shifts, small, y)
        return deliver(y, None)

    return compiled


@compiled_as(functional.batch_norm2d_backward)
def _batch_norm2d_backward(
    grad_output: Any, x: Any, running_mean: Any, running_var: Any, weight: Any, training: Any, eps: Any, layout: Any,
    needs: Any,
) -> Any:  # fmt: skip
    where = "batch_norm2d_backward"
    eps_of, wants = arguments.number(where, "eps", eps, 0), wanted(where, needs)
    order, given, _, _ = _statistics(where, x, running_mean, running_var, training, layout, updated=False)
    weight_of = _channels(where, "weight", weight, 1.0)
    arguments.gradient(where, grad_output, x.ndim)
    dtype = arguments.result_dtype(grad_output, x, arguments.optional_array(where, "weight", weight))
    read, read_g = images_reader(x, dtype, order), images_reader(grad_output, dtype, order)
    deliver, element = delivery(x.ndim, order), dtype.type
    of_x = if_wanted(wants[0], lambda grad: deliver(grad, None))
    of_weight, of_bias = (if_wanted(want, lambda grad: grad.astype(element)) for want in wants[1:])

    def compiled(grad_output, x, running_mean, running_var, weight, training, eps, layout, needs):
        small, trains = eps_of(eps), bool(training)
        means, variances = given(x, running_mean, running_var, trains)
        factors = weight_of(weight, means.size)
        same_shape(where, "grad_output", grad_output, x.shape)
        g, images = read_g(grad_output), read(x)
        mean, var = statistics(images, means, variances, trains)
        grads = gradients(where, g, images, mean, var, factors, trains, small, wants)
        return of_x(grads[0]), of_weight(grads[1]), of_bias(grads[2])

    return compiled
