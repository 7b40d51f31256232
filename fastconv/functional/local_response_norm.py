"""Local response normalisation in NumPy: a sum over a few channels adds views of the array, shifted by channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer
from fastconv._runtime.backend import on_numpy
from fastconv.functional.images import as_given, images_of


def local_response_norm(
    x: np.ndarray, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, layout: str = "NCHW"
) -> np.ndarray:
    """Divide every pixel by a power of the mean square of its neighbours in other channels.

    y[n, c] = x[n, c] / (k + alpha / size * sum over j from c - floor(size / 2) to c + floor((size - 1) / 2) of
    x[n, j]**2) ** beta

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `conv2d` takes, promoted as there.
        size: the number of channels that are summed, fewer at the ends.
        alpha: the weight of the mean square.
        beta: the power.
        k: added to the mean square.
        layout: `"NHWC"` takes and gives (N, H, W, C).

    Returns:
        y, of the shape of x.

    Raises:
        ShapeError: x has another number of dimensions, no channel or no pixel, or size is less than 1.
        ValueError: a number is not finite.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> local_response_norm(np.array([[[1.0]], [[2.0]]]), 2, alpha=2.0, beta=1.0).ravel()
        array([0.5       , 0.33333333])

    Source: A. Krizhevsky et al., ImageNet classification with deep convolutional neural networks (2012), section 3.3;
    semantics of PyTorch's `local_response_norm`.
    """
    where = "local_response_norm"
    images, unbatched = images_of(where, x, layout)
    size, alpha, beta, k = _options(where, size, alpha, beta, k)
    dtype = arrays.result_dtype(x)
    images = ready(images, arrays.compute_dtype(dtype))
    if on_numpy():
        y = reference.local_response_norm(images, size, alpha, beta, k)
    else:
        y = images * _base(images, size, alpha, k) ** -beta
    return as_given(y, dtype, layout, unbatched)


def local_response_norm_backward(
    grad_output: np.ndarray, x: np.ndarray, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *,
    layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    """The gradient of `local_response_norm`.

    grad_x = grad_output / b**beta - 2 * alpha * beta / size * x * sum over the channels whose sum b has x in it of
    grad_output * x / b**(beta + 1)

    Args:
        grad_output: the gradient of the result, of the shape of x.
        x: as given to `local_response_norm`.
        size: as given to `local_response_norm`.
        alpha: as given to `local_response_norm`.
        beta: as given to `local_response_norm`.
        k: as given to `local_response_norm`.
        layout: as given to `local_response_norm`.

    Returns:
        grad_x, of the shape of x.

    Raises:
        ShapeError: grad_output does not have the shape of x, or as for `local_response_norm`.
        ValueError: as for `local_response_norm`.
        TypeError: as for `local_response_norm`.

    Example:
        >>> local_response_norm_backward(np.ones((1, 1, 1)), np.ones((1, 1, 1)), 1, alpha=1.0, beta=1.0)
        array([[[0.]]])

    Source: as for `local_response_norm`.
    """
    where = "local_response_norm_backward"
    images, unbatched = images_of(where, x, layout)
    size, alpha, beta, k = _options(where, size, alpha, beta, k)
    g = arrays.numeric(where, "grad_output", grad_output)
    arrays.same_shape(where, "grad_output", g, x.shape)
    dtype = arrays.result_dtype(g, x)
    compute = arrays.compute_dtype(dtype)
    g, images = ready(arrays.channels_first(g[None] if unbatched else g, layout), compute), ready(images, compute)
    if on_numpy():
        grad = reference.local_response_norm_backward(g, images, size, alpha, beta, k)
    else:
        base = _base(images, size, alpha, k)
        direct = g * base**-beta
        through_base = _neighbours(direct * images / base, (size - 1) // 2, size // 2)
        grad = direct - images * through_base * (2 * alpha * beta / size)
    return as_given(grad, dtype, layout, unbatched)


def _options(where: str, size: Any, alpha: Any, beta: Any, k: Any) -> tuple[int, float, float, float]:
    alpha, beta, k = (number(where, name, n) for name, n in (("alpha", alpha), ("beta", beta), ("k", k)))
    return integer(where, "size", size, 1), alpha, beta, k


def _base(x: np.ndarray, size: int, alpha: float, k: float) -> np.ndarray:
    base = _neighbours(x * x, size // 2, (size - 1) // 2)
    base *= alpha / size
    base += k
    return base


def _neighbours(a: np.ndarray, before: int, after: int) -> np.ndarray:
    """For each channel the sum of `a` over the channels from c - before to c + after."""
    total, most = a.copy(), a.shape[1] - 1
    for shift in range(1, min(before, most) + 1):
        total[:, shift:] += a[:, :-shift]
    for shift in range(1, min(after, most) + 1):
        total[:, :-shift] += a[:, shift:]
    return total
