"""Linear layers: check, allocate, call."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._engine.linear import WEIGHT_SHAPE, check_linear, product
from fastconv._engine.pieces import parts
from fastconv._runtime.backend import on_numpy
from fastconv.errors import ShapeError
from fastconv.functional.conv import needed
from fastconv.kernels.gemm import matmul_transposed


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """y = x @ weight.T + bias.

    Args:
        x: (N, IN) or (IN,), of any dtype that `conv2d` takes, promoted as there.
        weight: (OUT, IN).
        bias: (OUT,) or None.

    Returns:
        (N, OUT) or (OUT,).

    Raises:
        ShapeError: the shapes do not fit.
        TypeError: an argument is not a numeric array.

    Example:
        >>> linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0]))
        array([[16.]])
    """
    return affine(x, weight, bias)


def affine(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, relu: bool = False) -> np.ndarray:
    """`linear`, with ReLU applied to the sums before they are stored where `relu`."""
    where = "linear"
    x, weight = _checked(where, x, weight)
    if bias is not None:
        arrays.same_shape(where, "bias", arrays.numeric(where, "bias", bias), weight.shape[:1])
    dtype = arrays.result_dtype(x, weight, bias)
    compute = arrays.compute_dtype(dtype)
    rows, weight = ready(x.reshape(-1 if x.size else len(x), x.shape[-1]), compute), ready(weight, compute)
    if on_numpy():
        y = reference.linear(rows, weight, bias if bias is None else ready(bias, compute))
        y = reference.relu(y) if relu else y
    else:
        y = arrays.empty(where, (len(rows), len(weight)), compute)
        zeros = np.zeros(len(weight), compute) if bias is None else ready(bias, compute)
        lowest = compute.type(0 if relu else -np.inf)
        for part in parts(len(rows), weight.size):
            matmul_transposed(rows[part], weight, zeros, lowest, y[part])
    return y.reshape(*x.shape[:-1], len(weight)).astype(dtype, copy=False)


def linear_backward(
    grad_output: np.ndarray, x: np.ndarray, weight: np.ndarray, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The gradients of `linear` with respect to x, weight and bias.

    Args:
        grad_output: (N, OUT) or (OUT,), the gradient of the result.
        x: as given to `linear`.
        weight: as given to `linear`.
        needs: which of the three to compute; the others are None.

    Returns:
        (grad_x, grad_weight, grad_bias), of the shapes of x, weight and (OUT,).

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: `needs` is not three booleans.
        TypeError: an argument is not a numeric array.

    Example:
        >>> linear_backward(np.array([[1.0]]), np.array([[2.0, 3.0]]), np.array([[4.0, 5.0]]))
        (array([[4., 5.]]), array([[2., 3.]]), array([1.]))
    """
    where = "linear_backward"
    needs = needed(where, needs)
    x, weight = _checked(where, x, weight)
    g = arrays.numeric(where, "grad_output", grad_output)
    arrays.same_shape(where, "grad_output", g, (*x.shape[:-1], len(weight)))
    dtype = arrays.result_dtype(g, x, weight)
    compute = arrays.compute_dtype(dtype)
    N = x.size // x.shape[-1]
    g, rows, weight = (
        ready(g.reshape(N, len(weight)), compute),
        ready(x.reshape(N, x.shape[-1]), compute),
        ready(weight, compute),
    )
    if on_numpy():
        grads = reference.linear_backward(g, rows, weight, needs=needs)
    else:
        grads = (
            _product(g, g.shape[1], 1, weight, N) if needs[0] else None,
            _product(g, 1, g.shape[1], rows, g.shape[1]) if needs[1] else None,
            g.sum(axis=0, dtype=np.float64) if needs[2] else None,
        )
    grad_x, grad_weight, grad_bias = (None if a is None else a.astype(dtype, copy=False) for a in grads)
    return None if grad_x is None else grad_x.reshape(x.shape), grad_weight, grad_bias


def _product(a: np.ndarray, a_row: int, a_column: int, b: np.ndarray, M: int) -> np.ndarray:
    """a @ b of M rows, a given by its strides in elements."""
    c, flat = np.empty((M, b.shape[1]), a.dtype), a.reshape(-1)
    for part in parts(M, b.size):
        product(flat[part.start * a_row :], a_row, a_column, b, c[part])
    return c


def _checked(where: str, x: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    x, weight = arrays.numeric(where, "x", x), arrays.numeric(where, "weight", weight)
    if x.ndim not in (1, 2):
        raise ShapeError(f"{where}: x must have shape (N, IN) or (IN,), got {x.shape}")
    if weight.ndim != 2:
        raise ShapeError(WEIGHT_SHAPE, where, weight.shape)
    check_linear(where, x, weight)
    return x, weight
