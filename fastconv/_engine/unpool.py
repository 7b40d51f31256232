"""Values put to the pixels that indices name, and taken from them: unpooling, and the gradients of max-pooling.

Images are (N, C, H, W), indices int64 of the values' shape, iy * W + ix in a plane.
"""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._runtime.jit import linked
from fastconv.errors import RangeError
from fastconv.kernels import max_pool as max_kernels
from fastconv.kernels import unpool as kernels


@linked
def raise_outside(where: str, indices: np.ndarray, H: int, W: int) -> None:
    """Raise the RangeError of indices of which some lie outside planes of H x W."""
    flat = indices.reshape(-1)
    bad = flat[(flat < 0) | (flat >= H * W)][0]
    raise RangeError("{}: indices must be from 0 to {} for a plane of {} x {}, got {}", where, H * W - 1, H, W, bad)


@linked
def scatter(
    where: str, g: np.ndarray, indices: np.ndarray, gate: np.ndarray, gated: bool, shape: tuple[int, int, int, int]
) -> np.ndarray:
    """The gradient of a max-pooling's x of this shape: each value of g added to the pixel that its index names.

    Where `gated`, only those whose value of `gate`, of the shape of g, is above 0.
    """
    grad = empty(where, shape, g.dtype, "grad_x")
    if max_kernels.backward(g, indices, gate, gated, grad) > 0:
        raise_outside(where, indices, shape[2], shape[3])
    return grad


@linked
def put(where: str, x: np.ndarray, indices: np.ndarray, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Images of this shape with the values x where their indices say, of equal indices the last, and zero elsewhere."""
    y = empty(where, shape, x.dtype, "the result")
    if kernels.put(x, indices, y) > 0:
        raise_outside(where, indices, shape[2], shape[3])
    return y


@linked
def take(where: str, g: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The values of g where the indices say."""
    grad = empty(where, indices.shape, g.dtype, "grad_x")
    if kernels.take(g, indices, grad) > 0:
        raise_outside(where, indices, g.shape[2], g.shape[3])
    return grad
