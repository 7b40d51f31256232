"""The mean of every plane of images (N, C, H, W), and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._runtime.jit import linked
from fastconv.kernels import global_pool as kernels


@linked
def means(x: np.ndarray, y: np.ndarray) -> None:
    """y (N, C, 1, 1) = the means of the planes of x, of at least one pixel."""
    N, C, H, W = x.shape
    kernels.forward(x.reshape((N * C, H * W)), y.reshape(-1))


@linked
def share_out(where: str, g: np.ndarray, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Images of this shape, over whose planes the values g (N, C, 1, 1) are shared out."""
    N, C, H, W = shape
    grad = empty(where, shape, g.dtype, "grad_x")
    kernels.backward(grad.reshape((N * C, H * W)), g.reshape(-1))
    return grad
