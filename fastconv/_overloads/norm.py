"""Normalisation in jitted code: the text that Python runs.

Numbers for each channel are float64. The powers of local_response_norm are the C library's and not NumPy's.
"""

from __future__ import annotations

import numpy as np
from numba import types

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._engine.batch_norm import check_batch, gradients, normalise, statistics
from fastconv._overloads.arguments import needed, number, per_channel, zero_of
from fastconv._overloads.images import as_given, check_pixels, images, sizes_of
from fastconv._overloads.kinds import is_none, optional, ranked, value_of
from fastconv._overloads.register import by_types, by_values, compiled_as, text
from fastconv.errors import DTypeError
from fastconv.kernels import local_response_norm
from fastconv.kernels.batch_norm import move

CHANNELS = optional(ranked("1 dimensions (C,), got {}", 1))
NUMBERS = {"running_mean": CHANNELS, "running_var": CHANNELS, "weight": CHANNELS}


@by_values
def check_running(where, name, numbers, training, updated):
    """Raise an error where running statistics are missing, or cannot be updated by training."""
    start, when = f"{value_of(where)}: {value_of(name)}", True
    if is_none(numbers):
        error, said, when = ValueError, f"{start} must be given where training is False", False
    elif value_of(updated) and not isinstance(numbers.dtype, types.Float):
        error, said = DTypeError, f"{start}, which training updates, must hold floats, got {numbers.dtype}"
    elif value_of(updated) and not numbers.mutable:
        error, said = ValueError, f"{start}, which training updates, must be writeable"
    else:
        return lambda where, name, numbers, training, updated: None

    def check(where, name, numbers, training, updated):
        if training == when:
            raise error(said)

    return check


@by_types
def moved(running, batch, factor, share):
    """Move running statistics, if there are any, towards a batch's."""
    if is_none(running) or not isinstance(running.dtype, types.Float) or not running.mutable:
        return lambda running, batch, factor, share: None
    return lambda running, batch, factor, share: move(running, batch, factor, share)


@text
def given(where, x, running_mean, running_var, training, updated, layout):
    """The mean and the variance that are given, all checked."""
    check_pixels(where, x, layout)
    N, C, H, W = sizes_of(x.shape, layout)
    check_batch(where, N * H * W, x.shape, training)
    mean = per_channel(where, "running_mean", running_mean, C, np.nan)
    check_running(where, "running_mean", running_mean, training, updated)
    var = per_channel(where, "running_var", running_var, C, np.nan)
    check_running(where, "running_var", running_var, training, updated)
    return mean, var


@compiled_as(functional.batch_norm2d, bias=CHANNELS, **NUMBERS)
def _batch_norm2d(x, running_mean, running_var, weight, bias, training, momentum, eps, layout, where):
    zero, trains = zero_of(x, weight, bias), bool(training)
    small, share = number(where, "eps", eps), number(where, "momentum", momentum)
    means, variances = given(where, x, running_mean, running_var, trains, True, layout)
    factors = per_channel(where, "weight", weight, means.size, 1.0)
    shifts = per_channel(where, "bias", bias, means.size, 0.0)
    values = images(x, zero, layout)
    mean, var = statistics(values, means, variances, trains)
    if trains and values.size > 0:
        count = values.size // mean.size
        moved(running_mean, mean, 1.0, share)
        moved(running_var, var, count / (count - 1), share)
    y = np.empty(values.shape, values.dtype)
    normalise(values, mean, var, factors, shifts, small, y)
    return as_given(y, x.shape, layout)


@by_values
def _own(needs, which, grads, x, layout):
    """The gradient of this number, if it is needed, in the dtype of x and the one of x in the caller's form."""
    number = value_of(which)
    if not needed(needs)[number]:
        return lambda needs, which, grads, x, layout: None
    if number == 0:
        return lambda needs, which, grads, x, layout: as_given(grads[0], x.shape, layout)
    return lambda needs, which, grads, x, layout: grads[number].astype(grads[0].dtype)


@compiled_as(functional.batch_norm2d_backward, **NUMBERS)
def _batch_norm2d_backward(grad_output, x, running_mean, running_var, weight, training, eps, layout, needs, where):
    zero, trains = zero_of(grad_output, x, weight), bool(training)
    small = number(where, "eps", eps)
    means, variances = given(where, x, running_mean, running_var, trains, False, layout)
    factors = per_channel(where, "weight", weight, means.size, 1.0)
    same_shape(where, "grad_output", grad_output, x.shape)
    g, values = images(grad_output, zero, layout), images(x, zero, layout)
    mean, var = statistics(values, means, variances, trains)
    grads = gradients(where, g, values, mean, var, factors, trains, small, needs)
    return _own(needs, 0, grads, x, layout), _own(needs, 1, grads, x, layout), _own(needs, 2, grads, x, layout)


@text
def _options(where, size, alpha, beta, k):
    """These numbers, checked."""
    found = number(where, "alpha", alpha), number(where, "beta", beta), number(where, "k", k)
    check_range(where, "size", np.int64(size), 1)
    return np.int64(size), found[0], found[1], found[2]


@compiled_as(functional.local_response_norm)
def _local_response_norm(x, size, alpha, beta, k, layout, where):
    check_pixels(where, x, layout)
    n, a, b, start = _options(where, size, alpha, beta, k)
    values = images(x, zero_of(x), layout)
    y = np.empty(values.shape, values.dtype)
    local_response_norm.normalise(values, n, a, b, start, y)
    return as_given(y, x.shape, layout)


@compiled_as(functional.local_response_norm_backward)
def _local_response_norm_backward(grad_output, x, size, alpha, beta, k, layout, where):
    zero = zero_of(grad_output, x)
    check_pixels(where, x, layout)
    same_shape(where, "grad_output", grad_output, x.shape)
    n, a, b, start = _options(where, size, alpha, beta, k)
    values = images(x, zero, layout)
    grad = np.empty(values.shape, values.dtype)
    local_response_norm.gradient(images(grad_output, zero, layout), values, n, a, b, start, grad)
    return as_given(grad, x.shape, layout)
