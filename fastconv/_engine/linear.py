"""Linear layers: the check of their sizes, and the products of their gradients."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.kernels.gemm import matmul

WEIGHT_SHAPE = "{}: weight must have shape (OUT, IN) without a zero, got {}"


@jitable
def check_linear(where: str, x: np.ndarray, weight: np.ndarray) -> None:
    """Raise a ShapeError unless weight, of two dimensions, has elements and fits x (N, IN) or (IN,)."""
    if weight.shape[0] < 1 or weight.shape[1] < 1:
        raise ShapeError(WEIGHT_SHAPE, where, weight.shape)
    if x.shape[x.ndim - 1] != weight.shape[1]:
        raise ShapeError("{}: weight takes {} inputs, x has shape {}", where, weight.shape[1], x.shape)


@linked
def product(a: np.ndarray, a_row: int, a_column: int, b: np.ndarray, c: np.ndarray) -> None:
    """c (M, N) = a @ b; `a` is flat, given by the distances of its rows and columns."""
    M, N = c.shape
    matmul(a, a_row, a_column, b.reshape((1, b.shape[0], N)), np.zeros(M, a.dtype), True, c.reshape((1, M, N)))
