"""Linear layers: the check of their sizes, and their products."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.kernels.gemm import matmul, matmul_by_panels, matmul_transposed

FEW_ROWS = 16  # that many rows of x repay the transposition of the weights

WEIGHT_SHAPE = "{}: weight must have shape (OUT, IN) without a zero, got {}"


@jitable
def check_linear(where: str, x: tuple[int, ...], weight: tuple[int, int]) -> None:
    """Raise a ShapeError unless weights of this shape have elements and fit x (N, IN) or (IN,)."""
    if weight[0] < 1 or weight[1] < 1:
        raise ShapeError(WEIGHT_SHAPE, where, weight)
    if x[len(x) - 1] != weight[1]:
        raise ShapeError("{}: weight takes {} inputs, x has shape {}", where, weight[1], x)


@linked
def forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, y: np.ndarray) -> None:
    """y (N, OUT) = x (N, IN) @ weight.T + bias; all that is not above `lowest` is clamped to it."""
    if len(x) < FEW_ROWS:
        matmul_transposed(x, weight, bias, lowest, y)
    else:
        matmul_by_panels(x, weight, bias, lowest, y)


@linked
def product(a: np.ndarray, a_row: int, a_column: int, b: np.ndarray, c: np.ndarray) -> None:
    """c (M, N) = a @ b; `a` is flat, given by the distances of its rows and columns."""
    M, N = c.shape
    matmul(a, a_row, a_column, b.reshape((1, b.shape[0], N)), np.zeros(M, a.dtype), True, c.reshape((1, M, N)))
