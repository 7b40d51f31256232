"""Linear layers: check, allocate, call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._engine import linear as product
from fastconv._runtime.backend import on_numpy
from fastconv.errors import ShapeError
from fastconv.functional.conv import needed


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
    call = _call_of(where, x, weight, bias, "bias")
    compute = call.compute
    rows, weight = _rows(x, compute), ready(weight, compute)
    start = call.zeros if bias is None else ready(bias, compute)
    if on_numpy():
        y = reference.linear(rows, weight, start)
        y = reference.relu(y) if relu else y
    else:
        y = call.run(rows, weight, start, compute.type(0) if relu else call.lowest)
    return y if call.shape == call.rows and call.dtype is compute else y.reshape(call.shape).astype(call.dtype)


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
    call = _call_of(where, x, weight, grad_output, "grad_output", needs)
    dtype, compute = call.dtype, call.compute
    arrays.same_shape(where, "grad_output", grad_output, call.shape)
    g, rows, weight = _rows(grad_output, compute), _rows(x, compute), ready(weight, compute)
    on_kernels = not on_numpy()
    grads = call.run(g, rows, weight) if on_kernels else reference.linear_backward(g, rows, weight, needs=needs)
    if dtype is not compute or not on_kernels:
        grads = [a if a is None else a.astype(dtype, copy=False) for a in grads]
    grad_x, grad_weight, grad_bias = grads
    return grad_x if grad_x is None or x.ndim == 2 else grad_x.reshape(x.shape), grad_weight, grad_bias


class _Call(NamedTuple):
    """What follows from the shapes and dtypes of a linear layer's arrays alone, as `_engine.calls.Call` does.

    Attributes:
        shape: the result's shape, as the caller has it.
        rows: the result's shape (N, OUT).
        dtype: the result's dtype.
        compute: the dtype that it is computed in.
        zeros: (OUT,), what the sums start from without a bias.
        lowest: what nothing is below.
        run: what computes y, from (x, weight, bias, lowest), or the gradients that are needed, from (g, x, weight).
    """

    shape: tuple[int, ...]
    rows: tuple[int, int]
    dtype: np.dtype
    compute: np.dtype
    zeros: np.ndarray
    lowest: Any
    run: Callable[..., Any]


def _call_of(
    where: str, x: Any, weight: Any, third: Any, name: str, needs: tuple[bool, bool, bool] | None = None
) -> _Call:
    """The call of a linear layer, or of its gradients, of arrays that are all checked but for a gradient's shape.

    `third` is the argument `name`: the bias, which may be None, or the gradient of the result.
    """
    kinds = arrays.kinds_of(where, x, weight, third, name)
    bias = None if third is None or name != "bias" else third.shape
    return _decided(where, x.shape, weight.shape, bias, kinds, name, needs)


@functools.lru_cache(maxsize=1024)
def _decided(
    where: str, x: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...] | None, kinds: tuple[np.dtype, ...],
    name: str, needs: tuple[bool, bool, bool] | None,
) -> _Call:  # fmt: skip
    arrays.check_kinds(where, kinds, name)
    if len(x) not in (1, 2):
        raise ShapeError(f"{where}: x must have shape (N, IN) or (IN,), got {x}")
    if len(weight) != 2:
        raise ShapeError(product.WEIGHT_SHAPE, where, weight)
    product.check_linear(where, x, weight)
    if bias is not None and bias != weight[:1]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, weight[:1], bias)
    dtype = arrays.promoted(kinds)
    compute = arrays.compute_dtype(dtype)
    N, (OUT, IN) = x[0] if len(x) == 2 else 1, weight
    sizes = where, N, IN, OUT, compute
    run = product.prepared_forward(*sizes) if needs is None else product.prepared_gradients(*sizes, needs)
    return _Call((*x[:-1], OUT), (N, OUT), dtype, compute, np.zeros(OUT, compute), compute.type(-np.inf), run)


def _rows(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array (N, n) or (n,) that is ready, with a first axis."""
    array = ready(array, dtype)
    return array if array.ndim == 2 else array[None]
