"""Batch normalisation and its gradient: sums over each channel, then one pass over the pixels.

Sums are taken in float64, so that the mean of a large batch is right to the last digit of float32.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import linked, sized_kernel, sized_strict_kernel
from fastconv._runtime.launch import prange


@sized_kernel
def moments(team, x, mean, var):
    """mean[c] and var[c] of channel c over images and pixels; the variance is the mean squared distance to the mean.

    Precondition: x (N, C, P) with N * P at least 1; mean and var (C,) float64. Parallel over C, which owns its channel.
    """
    N, C, P = x.shape
    for c in prange(team, C):
        total = 0.0
        for n in range(N):
            part = 0.0
            for p in range(P):
                part += x[n, c, p]
            total += part
        centre = total / (N * P)
        squares = 0.0
        for n in range(N):
            part = 0.0
            for p in range(P):
                distance = x[n, c, p] - centre
                part += distance * distance
            squares += part
        mean[c], var[c] = centre, squares / (N * P)


@sized_kernel
def sums(team, g, x, mean, plain, weighted):
    """plain[c] = the sum of g over channel c, weighted[c] = that of g * (x - mean[c]).

    Precondition: g and x (N, C, P); mean, plain and weighted (C,) float64. Parallel over C, which owns its channel.
    """
    N, C, P = x.shape
    for c in prange(team, C):
        total = total_weighted = 0.0
        for n in range(N):
            part = part_weighted = 0.0
            for p in range(P):
                part += g[n, c, p]
                part_weighted += g[n, c, p] * (x[n, c, p] - mean[c])
            total += part
            total_weighted += part_weighted
        plain[c], weighted[c] = total, total_weighted


@sized_strict_kernel
def scale(team, x, centre, factor, shift, y):
    """y[n, c] = (x[n, c] - centre[c]) * factor[c] + shift[c].

    Precondition: x and y (N, C, P); the others (C,), of its dtype. Parallel over planes, each of which owns its part.
    """
    N, C, P = x.shape
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        middle, slope, start = centre[c], factor[c], shift[c]
        for p in range(P):
            y[n, c, p] = (x[n, c, p] - middle) * slope + start


@sized_strict_kernel
def gradient(team, g, x, centre, of_g, of_x, shift, grad_x):
    """grad_x[n, c] = of_g[c] * g[n, c] + of_x[c] * (x[n, c] - centre[c]) + shift[c].

    Precondition: g, x and grad_x (N, C, P); the others (C,), of their dtype. Parallel over planes, each of which owns
    its part.
    """
    N, C, P = x.shape
    for plane in prange(team, N * C):
        n, c = divmod(plane, C)
        middle, a, b, start = centre[c], of_g[c], of_x[c], shift[c]
        for p in range(P):
            grad_x[n, c, p] = a * g[n, c, p] + b * (x[n, c, p] - middle) + start


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
