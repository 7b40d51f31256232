"""Batch normalisation of every feature by itself, over the batch alone: rows are read as they lie, vectors along them.

`batch_norm` has it for planes; of planes of one pixel, its vectors would hold one number each.
"""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import helper, sized_kernel, sized_strict_kernel
from fastconv._runtime.launch import prange

COLUMNS = 256  # features of a task, whose numbers stay in the L1 cache
ROWS = 64  # that are added one after another, before their sum is added to that of others


@helper
def _sums(x, first, centre, power, part, totals):
    """totals = the sum over all rows of x[:, first + d] - centre[d], or of its square where `power` is 2."""
    n = np.uint64(totals.size)
    totals[:] = 0
    for begin in range(0, len(x), ROWS):
        part[:] = 0
        for i in range(begin, min(begin + ROWS, len(x))):
            row = x[i, first : first + totals.size]
            for d in range(n):
                distance = row[d] - centre[d]
                part[d] += distance * distance if power == 2 else distance
        for d in range(n):
            totals[d] += part[d]


@sized_kernel
def normalise(team, x, weight, bias, eps, mean, var, y):
    """mean and var of each feature over the batch, and y = (x - mean) / sqrt(var + eps) * weight + bias.

    Precondition: x and y (N, D) with N at least 1, weight and bias (D,) of their dtype, mean and var (D,) float64.
    Parallel over blocks of features, each of which owns its columns.
    """
    N, D = x.shape
    part, nothing, factor = np.empty(COLUMNS), np.zeros(COLUMNS), np.empty(COLUMNS, x.dtype)
    centre = np.empty(COLUMNS, x.dtype)
    for block in prange(team, ceil_div(D, COLUMNS)):
        first = block * COLUMNS
        n = min(COLUMNS, D - first)
        m, v = mean[first : first + n], var[first : first + n]
        _sums(x, first, nothing, 1, part[:n], m)
        for d in range(n):
            m[d] /= N
        _sums(x, first, m, 2, part[:n], v)
        for d in range(n):
            v[d] /= N
            centre[d], factor[d] = m[d], weight[first + d] / np.sqrt(v[d] + eps)
        for i in range(N):
            source, target, start = x[i, first : first + n], y[i, first : first + n], bias[first : first + n]
            for d in range(np.uint64(n)):
                target[d] = (source[d] - centre[d]) * factor[d] + start[d]


@sized_kernel
def scale(team, x, centre, factor, start, y):
    """y = (x - centre) * factor + start.

    Precondition: x and y (N, D), all others (D,) of their dtype. Parallel over N.
    """
    D = np.uint64(x.shape[1])
    for i in prange(team, len(x)):
        source, target = x[i], y[i]
        for d in range(D):
            target[d] = (source[d] - centre[d]) * factor[d] + start[d]


@sized_kernel
def normalise_backward(team, g, x, mean, var, weight, eps, grad_x, grad_weight, grad_bias):
    """The gradients of `normalise`, through the batch's mean and variance.

    Precondition: as for `normalise`; grad_weight and grad_bias (D,) float64. Parallel over blocks of features.
    """
    N, D = x.shape
    plain, weighted = np.empty(COLUMNS), np.empty(COLUMNS)
    centre, factor = np.empty(COLUMNS, x.dtype), np.empty(COLUMNS, x.dtype)
    slope, shift = np.empty(COLUMNS, x.dtype), np.empty(COLUMNS, x.dtype)
    for block in prange(team, ceil_div(D, COLUMNS)):
        first = block * COLUMNS
        n = min(COLUMNS, D - first)
        m, total, total_weighted = mean[first : first + n], grad_bias[first : first + n], grad_weight[first : first + n]
        total[:] = 0
        total_weighted[:] = 0
        for begin in range(0, N, ROWS):
            plain[:] = 0
            weighted[:] = 0
            for i in range(begin, min(begin + ROWS, N)):
                row, grads = x[i, first : first + n], g[i, first : first + n]
                for d in range(np.uint64(n)):
                    plain[d] += grads[d]
                    weighted[d] += grads[d] * (row[d] - m[d])
            for d in range(np.uint64(n)):
                total[d] += plain[d]
                total_weighted[d] += weighted[d]
        for d in range(n):
            inverse = 1 / np.sqrt(var[first + d] + eps)
            scale = weight[first + d] * inverse
            total_weighted[d] *= inverse
            centre[d], factor[d] = m[d], scale
            slope[d], shift[d] = -scale * inverse * total_weighted[d] / N, -scale * total[d] / N
        for i in range(N):
            row, grads, target = x[i, first : first + n], g[i, first : first + n], grad_x[i, first : first + n]
            for d in range(np.uint64(n)):
                target[d] = factor[d] * grads[d] + slope[d] * (row[d] - centre[d]) + shift[d]


@sized_strict_kernel
def drop(team, x, drawn, p, mask, y):
    """mask = drawn > p, and y = x times it. Precondition: flat arrays, drawn float64. Parallel over elements."""
    for element in prange(team, x.size):
        i = np.uint64(element)
        mask[i] = drawn[i] > p
        y[i] = x[i] * x.dtype.type(mask[i])


@sized_strict_kernel
def masked(team, x, mask, y):
    """y = x times the mask, whatever x is. Precondition: flat arrays. Parallel over elements."""
    for element in prange(team, x.size):
        i = np.uint64(element)
        y[i] = x[i] * x.dtype.type(mask[i])


@sized_strict_kernel
def where_not_negative(team, g, x, grad_x):
    """grad_x = g times 1 where x >= 0, else 0. Precondition: flat arrays. Parallel over elements."""
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for element in prange(team, x.size):
        i = np.uint64(element)
        grad_x[i] = g[i] * (one if x[i] >= zero else zero)
