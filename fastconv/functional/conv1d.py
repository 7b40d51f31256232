"""Convolution of signals: that of images with one row."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.sizes import Padding, integer, pair
from fastconv._geometry.conv import conv_geometry
from fastconv.errors import ShapeError
from fastconv.functional.conv import convolution, convolution_backward

Int1: TypeAlias = int | tuple[int]
Padding1: TypeAlias = int | tuple[int] | tuple[int, int] | str


def conv1d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, stride: Int1 = 1, padding: Padding1 = 0,
    dilation: Int1 = 1, groups: int = 1,
) -> np.ndarray:  # fmt: skip
    """Convolve signals with a bank of kernels: `conv2d` with one axis.

    y[n, oc, o] = bias[oc] + sum over c, k of weight[oc, c, k] * x[n, c, o*s + k*d - p]

    Args:
        x: (N, C, L) or (C, L), of any dtype that `conv2d` takes, promoted as there.
        weight: (OC, C/groups, K).
        bias: (OC,) or None.
        stride: samples between windows.
        padding: zeros around the signal: `p`, `(before, after)`, or a name that `conv2d` takes.
        dilation: samples between the taps of a kernel.
        groups: as for `conv2d`.

    Returns:
        y, (N, OC, OL) or (OC, OL).

    Raises:
        ShapeError: shapes, stride, padding, dilation or groups do not fit; a ValueError.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> mean_of_three = np.full((1, 1, 3), 1 / 3)
        >>> conv1d(np.array([[3.0, 6.0, 9.0, 0.0]]), mean_of_three).round(6)
        array([[6., 5.]])

    Source: semantics of PyTorch's `conv1d`.
    """
    where = "conv1d"
    x, weight = _rows(where, x, weight)
    options = _options(where, stride, padding, dilation)
    y = convolution(x, weight, bias, *options, groups, where=where)
    return y.reshape(*y.shape[:-2], y.shape[-1])


def conv1d_backward(
    grad_output: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Int1 = 1, padding: Padding1 = 0,
    dilation: Int1 = 1, groups: int = 1, *, needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The gradients of `conv1d` with respect to x, weight and bias.

    Args:
        grad_output: the gradient of the result, of the result's shape.
        x: as given to `conv1d`.
        weight: as given to `conv1d`.
        stride: as given to `conv1d`.
        padding: as given to `conv1d`.
        dilation: as given to `conv1d`.
        groups: as given to `conv1d`.
        needs: which of the three to compute; the others are None.

    Returns:
        (grad_x, grad_weight, grad_bias), of the shapes of x, weight and (OC,).

    Raises:
        ShapeError: grad_output does not have the result's shape, or as for `conv1d`.
        TypeError: as for `conv1d`.

    Example:
        >>> conv1d_backward(np.array([[1.0, 0.0]]), np.array([[3.0, 6.0, 9.0]]), np.ones((1, 1, 2)))[0]
        array([[1., 1., 0.]])

    Source: semantics of PyTorch's `conv1d`.
    """
    where = "conv1d_backward"
    g = arrays.numeric(where, "grad_output", grad_output)
    rows, kernels = _rows(where, x, weight)
    options = _options(where, stride, padding, dilation)
    geometry = conv_geometry(where, rows.shape[-3:], kernels.shape, *options, groups)
    arrays.same_shape(where, "grad_output", g, (*x.shape[:-2], geometry.OC, geometry.columns.out))
    gradients = convolution_backward(g[..., None, :], rows, kernels, *options, groups, needs=needs, where=where)
    grad_x, grad_weight, grad_bias = gradients
    return (
        None if grad_x is None else grad_x.reshape(x.shape),
        None if grad_weight is None else grad_weight.reshape(weight.shape),
        grad_bias,
    )


def _rows(where: str, x: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """x and weight with an axis of one row."""
    x, weight = arrays.numeric(where, "x", x), arrays.numeric(where, "weight", weight)
    if x.ndim not in (2, 3):
        raise ShapeError(f"{where}: x must have 3 dimensions, or 2 without a batch, got shape {x.shape}")
    if weight.ndim != 3 or 0 in weight.shape:
        raise ShapeError(f"{where}: weight must have shape (OC, C/groups, K) without a zero, got {weight.shape}")
    return x[..., None, :], weight[..., None, :]


def _options(
    where: str, stride: Any, padding: Any, dilation: Any
) -> tuple[tuple[int, int], Padding, tuple[int, int]]:  # fmt: skip
    """Stride, padding and dilation of images with one row."""
    step, spread = (_one(where, name, value) for name, value in (("stride", stride), ("dilation", dilation)))
    if isinstance(padding, str):
        return (1, step), padding, (1, spread)
    alone = isinstance(padding, tuple | list) and len(padding) == 1
    return (1, step), ((0, 0), pair(where, "padding", padding[0] if alone else padding)), (1, spread)


def _one(where: str, name: str, value: Any) -> int:
    if isinstance(value, tuple | list) and len(value) == 1:
        value = value[0]
    return integer(where, name, value, 1)
