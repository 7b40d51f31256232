"""Depthwise convolution in NCHW order, each channel's image read as it is: vectors hold pixels."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.micro.planes import convolve_plane


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
