"""Linear layers: the check of their sizes, and their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._engine.pieces import parts
from fastconv._runtime.jit import PRODUCTS_OF_AN_ELEMENT, jitable, linked
from fastconv.errors import ShapeError
from fastconv.kernels.gemm import linear_gradients, matmul_by_panels, matmul_transposed

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
def gradients(g: np.ndarray, x: np.ndarray, weight: np.ndarray, grad_x: np.ndarray, grad_weight: np.ndarray,
    grad_bias: np.ndarray,
) -> None:  # fmt: skip
    """Of x (N, IN), weight (OUT, IN) and bias, those that have elements, from g (N, OUT)."""
    linear_gradients(g, 0, x, weight, grad_x, grad_weight, grad_bias)


def prepared_forward(N: int, IN: int, OUT: int) -> Callable[..., None]:
    """`forward` for arrays of these sizes and of one dtype."""
    kernel = matmul_transposed if N < FEW_ROWS else matmul_by_panels
    launch, todo = kernel.prepared(N * IN * OUT // PRODUCTS_OF_AN_ELEMENT), list(parts(N, OUT * IN))

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, y: np.ndarray) -> None:
        for part in todo:
            launch(x[part], weight, bias, lowest, y[part])

    return launch if len(todo) == 1 else run


def prepared_gradients(N: int, IN: int, OUT: int, needs: tuple[bool, bool, bool]) -> Callable[..., None]:
    """`gradients` for arrays of these sizes and of one dtype, where these are needed."""
    products = (needs[0] + needs[1]) * N * IN * OUT
    launch = linear_gradients.prepared(products // PRODUCTS_OF_AN_ELEMENT + needs[2] * N * OUT)
    rows, columns = list(parts(N * needs[0], OUT * IN)), list(parts(OUT * needs[1], N * IN))

    def run(
        g: np.ndarray, x: np.ndarray, weight: np.ndarray, grad_x: np.ndarray, grad_weight: np.ndarray,
        grad_bias: np.ndarray,
    ) -> None:  # fmt: skip
        if len(rows) == len(columns) == 1:
            launch(g, 0, x, weight, grad_x, grad_weight, grad_bias)
            return
        for part in rows:
            launch(g, part.start * OUT, x, weight, grad_x[part], grad_weight[:0], grad_bias[:0])
        for part in columns:
            launch(g, part.start, x, weight, grad_x[:0], grad_weight[part], grad_bias[:0])
        launch(g, 0, x, weight, grad_x[:0], grad_weight[:0], grad_bias)

    return run
