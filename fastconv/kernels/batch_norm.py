"""Batch normalisation and its gradient: sums over each channel, then one pass over the pixels.

Sums are taken in float64, plane by plane, so that the mean of a large batch is right to the last digit of float32 and
images are read once: a plane's squares are taken about its own mean while it is in the cache, and moved to the
channel's (T. Chan et al., Updating formulae and a pairwise algorithm for computing sample variances, 1979).

What follows in a network is done in the same pass: a residual connection's other branch is added, and the activation
clamps the sum. Its gradient passes a gate: where the result was clamped, nothing comes back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._runtime.jit import kernel_after, linked, sized_kernel, sized_strict_kernel, strict_helper
from fastconv._runtime.launch import prange

OPEN, OF_SUM, OF_RESULT = range(3)  # gates: none; of the normalised x, computed anew; of the result that is kept


class Gate(NamedTuple):
    """Where a gradient passes an activation that clamps: where the result lies between two bounds.

    Attributes:
        kind: OPEN, OF_SUM or OF_RESULT.
        numbers: (3, C), the centres, factors and shifts of x, for OF_SUM.
        result: (N, C, P), for OF_RESULT.
        bounds: (2,), the least and the greatest result.
    """

    kind: int
    numbers: np.ndarray
    result: np.ndarray
    bounds: np.ndarray


@strict_helper
def affine(x, centre, factor, shift):
    """(x - centre) * factor + shift, rounded as often as written: the gate and the result agree to the last bit."""
    return (x - centre) * factor + shift


@sized_kernel
def plane_moments(team, x, mean, var, parts):
    """parts[n, c] = the sum of a plane, and its squared distances to its own mean.

    Precondition and axes as for `moments`. Parallel over planes.
    """
    N, C, P = x.shape
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        total = 0.0
        for p in range(P):
            total += x[n, c, p]
        centre, squares = total / P, 0.0
        for p in range(P):
            distance = x[n, c, p] - centre
            squares += distance * distance
        parts[n, c, 0], parts[n, c, 1] = total, squares


@kernel_after(plane_moments)
def moments(team, x, mean, var, parts):
    """mean[c] and var[c] of channel c over images and pixels; the variance is the mean squared distance to the mean.

    Precondition: x (N, C, P) with N * P at least 1; mean and var (C,), parts (N, C, 2), float64. Parallel over C.
    """
    N, C, P = x.shape
    for c in prange(team, C):
        total = squares = 0.0
        for n in range(N):
            total += parts[n, c, 0]
        centre = total / (N * P)
        for n in range(N):
            distance = parts[n, c, 0] / P - centre
            squares += parts[n, c, 1] + P * distance * distance
        mean[c], var[c] = centre, squares / (N * P)


@sized_kernel
def plane_sums(team, g, x, mean, gate, parts, plain, weighted):
    """parts[n, c] = the sums of a plane.

    Precondition and axes as for `sums`. Parallel over planes.
    """
    N, C, P = x.shape
    kind, numbers, result, bounds = gate
    least, most, zero = bounds[0], bounds[1], x.dtype.type(0)
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        total, total_weighted, centre = 0.0, 0.0, mean[c]
        if kind == OPEN:
            for p in range(P):
                total += g[n, c, p]
                total_weighted += g[n, c, p] * (x[n, c, p] - centre)
        elif kind == OF_SUM:
            middle, slope, start = numbers[0, c], numbers[1, c], numbers[2, c]
            for p in range(P):
                value = affine(x[n, c, p], middle, slope, start)
                passed = g[n, c, p] if least < value < most else zero
                total += passed
                total_weighted += passed * (x[n, c, p] - centre)
        else:
            for p in range(P):
                passed = g[n, c, p] if least < result[n, c, p] < most else zero
                total += passed
                total_weighted += passed * (x[n, c, p] - centre)
        parts[n, c, 0], parts[n, c, 1] = total, total_weighted


@kernel_after(plane_sums)
def sums(team, g, x, mean, gate, parts, plain, weighted):
    """plain[c] = the sum of g over channel c where it passes the gate, weighted[c] = that of g * (x - mean[c]).

    Precondition: g and x (N, C, P); a `Gate`; parts (N, C, 2), mean, plain and weighted (C,), float64. Parallel over C.
    """
    N, C = x.shape[:2]
    for c in prange(team, C):
        total = total_weighted = 0.0
        for n in range(N):
            total += parts[n, c, 0]
            total_weighted += parts[n, c, 1]
        plain[c], weighted[c] = total, total_weighted


@sized_strict_kernel
def scale(team, x, numbers, side, side_numbers, bounds, y):
    """y[n, c] = (x[n, c] - numbers[0, c]) * numbers[1, c] + numbers[2, c], within the bounds, NaN where it is NaN.

    Plus the same of `side`, where there is one.

    Precondition: x, side and y (N, C, P), side without images where there is none; numbers and side_numbers (3, C),
    bounds (2,), of its dtype. Parallel over planes, each of which owns its part.
    """
    N, C, P = x.shape
    least, most = bounds[0], bounds[1]
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        middle, slope, start = numbers[0, c], numbers[1, c], numbers[2, c]
        if len(side) == 0:
            for p in range(P):
                value = (x[n, c, p] - middle) * slope + start
                y[n, c, p] = least if value <= least else most if value >= most else value
        else:
            middle_side, slope_side, start_side = side_numbers[0, c], side_numbers[1, c], side_numbers[2, c]
            for p in range(P):
                value = (x[n, c, p] - middle) * slope + start
                value += (side[n, c, p] - middle_side) * slope_side + start_side
                y[n, c, p] = least if value <= least else most if value >= most else value


@sized_strict_kernel
def gradient(team, g, x, numbers, gate, grad_x):
    """grad_x[n, c] = a * g[n, c] + b * (x[n, c] - centre) + shift, with g where it passes the gate, else 0.

    Precondition: g, x and grad_x (N, C, P); numbers (4, C): the centres, a, b and the shifts, of their dtype; a `Gate`.
    Parallel over planes, each of which owns its part.
    """
    N, C, P = x.shape
    kind, own, result, bounds = gate
    least, most, zero = bounds[0], bounds[1], x.dtype.type(0)
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        middle, a, b, start = numbers[0, c], numbers[1, c], numbers[2, c], numbers[3, c]
        if kind == OPEN:
            for p in range(P):
                grad_x[n, c, p] = a * g[n, c, p] + b * (x[n, c, p] - middle) + start
        elif kind == OF_SUM:
            slope, shift = own[1, c], own[2, c]
            for p in range(P):
                distance = x[n, c, p] - middle
                passed = g[n, c, p] if least < distance * slope + shift < most else zero
                grad_x[n, c, p] = a * passed + b * distance + start
        else:
            for p in range(P):
                passed = g[n, c, p] if least < result[n, c, p] < most else zero
                grad_x[n, c, p] = a * passed + b * (x[n, c, p] - middle) + start


@sized_strict_kernel
def scaling(team, mean, var, weight, bias, eps, numbers):
    """numbers (3, C) = the centres, factors and shifts with which `scale` normalises; all others (C,) float64.

    Parallel over C.
    """
    for c in prange(team, mean.size):
        numbers[0, c], numbers[1, c], numbers[2, c] = mean[c], weight[c] / np.sqrt(var[c] + eps), bias[c]


@sized_strict_kernel
def gradient_numbers(team, mean, var, weight, eps, plain, weighted, count, grad_weight, numbers):
    """grad_weight (C,) from the `sums`, and numbers (4, C) = what `gradient` takes for each channel of `count` values.

    Precondition: all but numbers (C,) float64. Parallel over C.
    """
    for c in prange(team, mean.size):
        inverse, factor = 1 / np.sqrt(var[c] + eps), weight[c] / np.sqrt(var[c] + eps)
        grad_weight[c] = weighted[c] * inverse
        numbers[0, c], numbers[1, c] = mean[c], factor
        numbers[2, c], numbers[3, c] = -factor * inverse * grad_weight[c] / count, -factor * plain[c] / count


@linked
def move(running, batch, factor, momentum) -> None:
    """running = (1 - momentum) * running + momentum * factor * batch: for jitted code, as NumPy has it in Python.

    Precondition: both (C,), running of any float type, batch float64.
    """
    rest = running.dtype.type(1 - momentum)
    for c in range(batch.size):
        running[c] = rest * running[c] + momentum * (batch[c] * factor)
