"""batch_norm2d and its gradients in jitted code: the kernels that Python calls, numbers for each channel in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable
from numba.np.numpy_support import as_dtype

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._overloads import arguments
from fastconv._overloads.arguments import if_wanted, is_none, wanted
from fastconv._overloads.arrays import delivery, images_reader, reader, sizes_of
from fastconv._overloads.global_pool import pixels_checker
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked, strict_helper
from fastconv.errors import DTypeError, ShapeError
from fastconv.kernels import batch_norm as kernels

_DOUBLE = np.dtype(np.float64)
moments, sums = kernels.moments, kernels.sums
scale, combine = kernels.scale, kernels.gradient


@strict_helper
def _flat(x):
    return x.reshape((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))


@linked
def statistics(x, mean, var, training):
    """The mean and the variance with which x is normalised: its own where `training`, else those given."""
    if x.size == 0 or not training:
        return mean, var
    own_mean, own_var = np.empty(x.shape[1]), np.empty(x.shape[1])
    moments(_flat(x), own_mean, own_var)
    return own_mean, own_var


@linked
def normalised(x, mean, var, weight, bias, eps):
    """x (N, C, H, W), normalised."""
    y = np.empty(x.shape, x.dtype)
    if x.size > 0:
        element = x.dtype
        factor = weight / np.sqrt(var + eps)
        scale(_flat(x), mean.astype(element), factor.astype(element), bias.astype(element), _flat(y))
    return y


@linked
def gradients(g, x, mean, var, weight, training, eps, of_x):
    """The gradients of x, if it is wanted, of weight and of bias, the last two in float64."""
    C = x.shape[1]
    plain, weighted, grad_x = np.zeros(C), np.zeros(C), np.empty(x.shape if of_x else (0, 0, 0, 0), x.dtype)
    if x.size == 0:
        return grad_x, weighted, plain
    element, count = x.dtype, x.size // C
    sums(_flat(g), _flat(x), mean, plain, weighted)
    inverse, factor = 1 / np.sqrt(var + eps), weight / np.sqrt(var + eps)
    grad_weight = weighted * inverse
    if of_x and training:
        shares, shift = -factor * inverse * grad_weight / count, -factor * plain / count
        combine(
            _flat(g), _flat(x), mean.astype(element), factor.astype(element), shares.astype(element),
             shift.astype(element), _flat(grad_x)
        )  # fmt: skip
    elif of_x:
        zeros = np.zeros(C, element)
        scale(_flat(g), zeros, factor.astype(element), zeros, _flat(grad_x))
    return grad_x, grad_weight, plain


@strict_helper
def _check_batch(where, image, shape, training):
    if training and image[0] * image[2] * image[3] == 1:
        raise ShapeError("{}: training needs more than one value for each channel, x has shape {}", where, shape)


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
    read = _channels(where, name, kind, np.nan)
    if is_none(kind):
        missing = f"{where}: {name} must be given where training is False"

        def given(a, C, training):
            if not training:
                raise ValueError(missing)
            return read(a, C)

        return register_jitable(given), register_jitable(lambda running, batch, momentum: None)
    number = as_dtype(kind.dtype).type
    no_floats = f"{where}: {name}, which training updates, must hold floats, got {kind.dtype}"
    not_writeable = f"{where}: {name}, which training updates, must be writeable"
    floats, writeable = isinstance(kind.dtype, types.Float), kind.mutable

    def checked(a, C, training):
        values = read(a, C)
        if training and updated and not floats:
            raise DTypeError(no_floats)
        if training and updated and not writeable:
            raise ValueError(not_writeable)
        return values

    def move(running, batch, momentum):
        for c in range(batch.size):
            running[c] = number(1 - momentum) * running[c] + momentum * batch[c]

    nothing = lambda running, batch, momentum: None  # noqa: E731
    return register_jitable(checked), register_jitable(move if updated and floats and writeable else nothing)


@compiled_as(functional.batch_norm2d)
def _batch_norm2d(
    x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: Any, momentum: Any, eps: Any,
    layout: Any,
) -> Any:  # fmt: skip
    where = "batch_norm2d"
    arguments.flag(where, "training", training)
    eps_of, share_of = arguments.number(where, "eps", eps, 0), arguments.number(where, "momentum", momentum, 0, 1)
    order, check = pixels_checker(where, x, layout)
    mean_of, move_mean = _running(where, "running_mean", running_mean, True)
    var_of, move_var = _running(where, "running_var", running_var, True)
    weight_of, bias_of = _channels(where, "weight", weight, 1.0), _channels(where, "bias", bias, 0.0)
    others = (arguments.optional_array(where, name, kind) for name, kind in (("weight", weight), ("bias", bias)))
    dtype = arguments.result_dtype(x, *others)
    sizes, read, deliver = sizes_of(x.ndim, order), images_reader(x, dtype, order), delivery(x.ndim, order)

    def compiled(x, running_mean, running_var, weight, bias, training, momentum, eps, layout):
        small, share, trains = eps_of(eps), share_of(momentum), bool(training)
        check(x)
        N, C, H, W = sizes(x.shape)
        _check_batch(where, (N, C, H, W), x.shape, trains)
        means, variances = mean_of(running_mean, C, trains), var_of(running_var, C, trains)
        factors, shifts = weight_of(weight, C), bias_of(bias, C)
        images = read(x)
        mean, var = statistics(images, means, variances, trains)
        if trains and N > 0:
            count = N * H * W
            move_mean(running_mean, mean, share)
            move_var(running_var, var * (count / (count - 1)), share)
        return deliver(normalised(images, mean, var, factors, shifts, small), None)

    return compiled


@compiled_as(functional.batch_norm2d_backward)
def _batch_norm2d_backward(
    grad_output: Any, x: Any, running_mean: Any, running_var: Any, weight: Any, training: Any, eps: Any, layout: Any,
    needs: Any,
) -> Any:  # fmt: skip
    where = "batch_norm2d_backward"
    arguments.flag(where, "training", training)
    eps_of, wants = arguments.number(where, "eps", eps, 0), wanted(where, needs)
    order, check = pixels_checker(where, x, layout)
    mean_of, _ = _running(where, "running_mean", running_mean, False)
    var_of, _ = _running(where, "running_var", running_var, False)
    weight_of = _channels(where, "weight", weight, 1.0)
    arguments.gradient(where, grad_output, x.ndim)
    dtype = arguments.result_dtype(grad_output, x, arguments.optional_array(where, "weight", weight))
    sizes, read, read_g = (
        sizes_of(x.ndim, order),
        images_reader(x, dtype, order),
        images_reader(grad_output, dtype, order),
    )
    sizes, deliver, needs_x, element = sizes_of(x.ndim, order), delivery(x.ndim, order), wants[0], dtype.type
    of_x = if_wanted(wants[0], lambda grad: deliver(grad, None))
    of_weight, of_bias = (if_wanted(want, lambda grad: grad.astype(element)) for want in wants[1:])

    def compiled(grad_output, x, running_mean, running_var, weight, training, eps, layout, needs):
        small, trains = eps_of(eps), bool(training)
        check(x)
        N, C, H, W = sizes(x.shape)
        _check_batch(where, (N, C, H, W), x.shape, trains)
        means, variances = mean_of(running_mean, C, trains), var_of(running_var, C, trains)
        factors = weight_of(weight, C)
        same_shape(where, "grad_output", grad_output, x.shape)
        g, images = read_g(grad_output), read(x)
        mean, var = statistics(images, means, variances, trains)
        grads = gradients(g, images, mean, var, factors, trains, small, needs_x)
        return of_x(grads[0]), of_weight(grads[1]), of_bias(grads[2])

    return compiled
