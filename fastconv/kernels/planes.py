"""Depthwise convolution in NCHW order, each channel's image read as it is, and the gradient of its weights."""

from __future__ import annotations

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.jit import kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import CHAIN, set_aside, steps_between
from fastconv.kernels.micro.plane_gradients import add_plane, spread_plane
from fastconv.kernels.micro.plane_image import TAPS
from fastconv.kernels.micro.planes import convolve_plane
from fastconv.kernels.micro.vectors import VECTOR_BYTES


@kernel
def convolve_planes(team, x, stride, start, weights, bias, lowest, y):
    """y[n, c] = bias[c] + x[n, c], with zeros around it, convolved with a kernel of 3x3; clamped to `lowest`.

    Precondition: x (N, C, H, W), y (N, C, OH, OW); stride 1 or 2; start (rows, columns) of padding; weights (weight,
    flat; rows (C,) and terms (9,), uint64), where weight[rows[c] + terms[k]] is tap k of channel c. Parallel over
    (image, channel), each of which owns its plane of y.
    """
    weight, rows, terms = weights
    N, C, H, W = x.shape
    OH, OW = y.shape[2:]
    flat_x, flat, nothing = x.reshape(-1), y.reshape(-1), np.zeros(W, x.dtype)
    top, left = start
    for plane in prange(team, N * C):
        c = plane % C
        convolve_plane(
            flat, plane * OH * OW, OH, OW, flat_x, plane * H * W, H, W, top, left, stride, weight, np.int64(rows[c]),
            terms, nothing, bias[c], lowest,
        )  # fmt: skip


@kernel
def planes_input_gradient(team, g, start, weights, bias, grad):
    """grad[n, c] = bias[c] + the gradient of x[n, c] for `convolve_planes` with stride 2, from g[n, c].

    Precondition: g (N, C, OH, OW), grad (N, C, H, W); start and weights as for `convolve_planes`, all finite. Parallel
    over (image, channel), each of which owns its plane of grad.
    """
    weight, rows, terms = weights
    N, C, H, W = grad.shape
    OH, OW = g.shape[2:]
    flat_g, flat, nothing = g.reshape(-1), grad.reshape(-1), np.zeros(OW, g.dtype)
    top, left = start
    for plane in prange(team, N * C):
        c = plane % C
        spread_plane(
            flat, plane * H * W, H, W, flat_g, plane * OH * OW, OH, OW, top, left, weight, np.int64(rows[c]), terms,
            nothing, bias[c],
        )  # fmt: skip


@kernel
def planes_weight_gradient(team, g, x, stride, start, grad):
    """grad[c, k] = sum over images and pixels of g[n, c] and what tap k of 3x3 reads of x[n, c], with zeros around it.

    Precondition: g (N, C, OH, OW), x (N, C, H, W), grad (C, 9); stride and start as for `convolve_planes`. Parallel
    over channels, each of which sums the batch in order.
    """
    N, C, H, W = x.shape
    OH, OW = g.shape[2:]
    flat_x, flat_g, nothing = x.reshape(-1), g.reshape(-1), np.zeros(W, x.dtype)
    top, left = start
    lanes = VECTOR_BYTES // x.itemsize
    totals, aside = np.empty((2, TAPS * TAPS * lanes), x.dtype)
    sums = ceil_div(OH, CHAIN) * ceil_div(OW, lanes)  # of an image, that are added to the totals
    between = max(1, steps_between(N * sums) // sums)
    for c in prange(team, C):
        totals[:] = 0
        aside[:] = 0
        for n in range(N):
            plane = n * C + c
            if n > 0 and n % between == 0:
                set_aside(aside, totals)
                totals[:] = 0
            add_plane(
                totals, flat_g, plane * OH * OW, OH, OW, flat_x, plane * H * W, H, W, top, left, stride, nothing
            )  # fmt: skip
        set_aside(totals, aside)
        for k in range(TAPS * TAPS):
            total = x.dtype.type(0)
            for lane in range(lanes):
                total += totals[k * lanes + lane]
            grad[c, k] = total
