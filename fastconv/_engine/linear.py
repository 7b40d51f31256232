"""Linear layers: the check of their sizes, and their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._arguments import arrays
from fastconv._engine.pieces import parts
from fastconv._runtime.jit import PRODUCTS_OF_AN_ELEMENT, jitable, linked
from fastconv.errors import ShapeError
from fastconv.kernels.gemm import linear_gradients, matmul_by_panels, matmul_transposed

Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]

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
def gradients(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, grad_x: np.ndarray, grad_weight: np.ndarray,
    grad_bias: np.ndarray,
) -> None:  # fmt: skip
    """Of x (N, IN), weight (OUT, IN) and bias, those that have elements, from g (N, OUT)."""
    linear_gradients(g, 0, x, weight, grad_x, grad_weight, grad_bias)


def prepared_forward(where: str, N: int, IN: int, OUT: int, dtype: np.dtype) -> Callable[..., np.ndarray]:
    """What gives y for (x, weight, bias, lowest), arrays of these sizes and this dtype, as `forward` does."""
    kernel = matmul_transposed if N < FEW_ROWS else matmul_by_panels
    launch, new = kernel.prepared(N * IN * OUT // PRODUCTS_OF_AN_ELEMENT), arrays.maker(where, (N, OUT), dtype)
    pieces = list(parts(N, OUT * IN))

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any) -> np.ndarray:
        y = new()
        if len(pieces) == 1:
            launch(x, weight, bias, lowest, y)
        else:
            for part in pieces:
                launch(x[part], weight, bias, lowest, y[part])
        return y

    return run


def prepared_gradients(
    where: str, N: int, IN: int, OUT: int, dtype: np.dtype, needs: tuple[bool, bool, bool]
) -> Callable[..., Gradients]:
    """What gives those gradients that are needed for (g, x, weight), arrays of these sizes and this dtype."""
    want_x, want_weight, want_bias = needs
    products = (want_x + want_weight) * N * IN * OUT
    launch = linear_gradients.prepared(products // PRODUCTS_OF_AN_ELEMENT + want_bias * N * OUT)
    shapes = (N, IN), (OUT, IN), (OUT,)
    new_x, new_weight, new_bias = (arrays.maker(where, shape, dtype, "a gradient") for shape in shapes)
    no_rows, no_numbers = np.empty((0, IN), dtype), np.empty(0, dtype)
    rows, columns = list(parts(N * want_x, OUT * IN)), list(parts(OUT * want_weight, N * IN))

    def run(g: np.ndarray, x: np.ndarray, weight: np.ndarray) -> Gradients:
        grad_x = new_x() if want_x else no_rows
        grad_weight = new_weight() if want_weight else no_rows
        grad_bias = new_bias() if want_bias else no_numbers
        if len(rows) == len(columns) == 1:
            launch(g, 0, x, weight, grad_x, grad_weight, grad_bias)
        else:
            for part in rows:
                launch(g, part.start * OUT, x, weight, grad_x[part], no_rows, no_numbers)
            for part in columns:
                launch(g, part.start, x, weight, no_rows, grad_weight[part], no_numbers)
            launch(g, 0, x, weight, no_rows, no_rows, grad_bias)
        return grad_x if want_x else None, grad_weight if want_weight else None, grad_bias if want_bias else None

    return run
