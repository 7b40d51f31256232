"""Batch normalisation: check, allocate, call."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import reference
from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._arguments.scalars import number, switch
from fastconv._engine.batch_norm import check_batch, gradients, normalise, statistics
from fastconv._runtime.backend import on_numpy
from fastconv._runtime.recording import not_recorded
from fastconv.errors import DTypeError
from fastconv.functional.conv import needed
from fastconv.functional.images import images_of


def batch_norm2d(
    x: np.ndarray, running_mean: np.ndarray | None, running_var: np.ndarray | None, weight: np.ndarray | None = None,
    bias: np.ndarray | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5, *,
    layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    """Normalise every channel, over the images of a batch and their pixels.

    y[:, c] = (x[:, c] - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c]

    Args:
        x: (N, C, H, W) or (C, H, W), of any dtype that `conv2d` takes, promoted as there with weight and bias.
        running_mean: (C,), the mean where not `training`. With `training` the batch's own is taken, and running_mean
            becomes (1 - momentum) * running_mean + momentum * mean, in place, unless it is None.
        running_var: (C,), likewise for the variance. The batch's own, with which x is normalised, is the sum of
            squares over their number n; what goes into running_var is that over n - 1.
        weight: (C,), or None for ones.
        bias: (C,), or None for zeros.
        training: whether to take the batch's own mean and variance.
        momentum: the share of the batch in the running statistics, 0 to 1.
        eps: added to the variance, at least 0.
        layout: `"NHWC"` takes and gives (N, H, W, C).

    Returns:
        y, of the shape of x.

    Raises:
        ShapeError: shapes do not fit, or `training` on a single value for each channel.
        ValueError: a number is out of its range, or running statistics are missing where they are needed.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> x = np.array([[[[1.0, 3.0]]]])
        >>> batch_norm2d(x, np.array([1.0]), np.array([4.0]), eps=0.0)
        array([[[[0., 1.]]]])
        >>> batch_norm2d(x, None, None, training=True, eps=0.0)
        array([[[[-1.,  1.]]]])

    Source: S. Ioffe and C. Szegedy, Batch normalization (2015), algorithm 1; semantics of PyTorch's `batch_norm`.
    """
    where = "batch_norm2d"
    training, eps = switch(where, "training", training), number(where, "eps", eps, 0)
    momentum = number(where, "momentum", momentum, 0, 1)
    images, unbatched = images_of(where, x, layout)
    C = images.shape[1]
    running_mean, running_var = _checked_statistics(where, images, running_mean, running_var, training)
    weight, bias = _of_channels(where, "weight", weight, C), _of_channels(where, "bias", bias, C)
    dtype = arrays.result_dtype(x, weight, bias)
    compute = arrays.compute_dtype(dtype)
    images = ready(images, compute)
    y = arrays.empty(where, images.shape, compute)
    if images.size == 0:
        pass  # no statistics to take or to apply
    elif on_numpy():
        weight, bias = (None if a is None else ready(a, compute) for a in (weight, bias))
        y[...] = reference.batch_norm2d(images, running_mean, running_var, weight, bias, training, momentum, eps)
    else:
        not_recorded()  # numbers for each channel
        given = _numbers(running_mean, C, 0.0), _numbers(running_var, C, 1.0)
        with np.errstate(all="ignore"):  # a variance of zero or less; numbers that are infinite in float32
            mean, var = statistics(images, *given, training)
            if training:
                update_running(running_mean, running_var, mean, var, images.size // C, momentum)
            normalise(images, mean, var, _numbers(weight, C, 1.0), _numbers(bias, C, 0.0), eps, y)
    return _as_given(y.astype(dtype, copy=False), layout, unbatched)


def batch_norm2d_backward(
    grad_output: np.ndarray, x: np.ndarray, running_mean: np.ndarray | None, running_var: np.ndarray | None,
    weight: np.ndarray | None = None, training: bool = False, eps: float = 1e-5, *, layout: str = "NCHW",
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The gradients of `batch_norm2d` with respect to x, weight and bias.

    With `training` they go through the batch's mean and variance, which are taken from x anew.

    Args:
        grad_output: the gradient of the result, of the shape of x.
        x: as given to `batch_norm2d`.
        running_mean: as given to `batch_norm2d`; only needed where not `training`, and never changed.
        running_var: likewise.
        weight: as given to `batch_norm2d`.
        training: as given to `batch_norm2d`.
        eps: as given to `batch_norm2d`.
        layout: as given to `batch_norm2d`.
        needs: which of the three to compute; the others are None.

    Returns:
        (grad_x, grad_weight, grad_bias), of the shapes of x, (C,) and (C,).

    Raises:
        ShapeError: grad_output does not have the shape of x, or as for `batch_norm2d`.
        ValueError: as for `batch_norm2d`.
        TypeError: as for `batch_norm2d`.

    Example:
        >>> x, g = np.array([[[[1.0, 3.0]]]]), np.array([[[[1.0, 0.0]]]])
        >>> batch_norm2d_backward(g, x, None, None, training=True, eps=0.0)
        (array([[[[0., 0.]]]]), array([-1.]), array([1.]))

    Source: as for `batch_norm2d`.
    """
    where = "batch_norm2d_backward"
    training, eps = switch(where, "training", training), number(where, "eps", eps, 0)
    needs = needed(where, needs)
    images, unbatched = images_of(where, x, layout)
    C = images.shape[1]
    running_mean, running_var = _checked_statistics(where, images, running_mean, running_var, training, updated=False)
    weight = _of_channels(where, "weight", weight, C)
    g = arrays.numeric(where, "grad_output", grad_output)
    arrays.same_shape(where, "grad_output", g, x.shape)
    dtype = arrays.result_dtype(g, x, weight)
    compute = arrays.compute_dtype(dtype)
    g = arrays.channels_first(g[None] if unbatched else g, layout)
    g, images = ready(g, compute), ready(images, compute)
    grads: tuple[np.ndarray | None, ...]
    if images.size == 0:
        empty = (np.zeros_like(images), np.zeros(C, compute), np.zeros(C, compute))
        grads = tuple(a if wanted else None for a, wanted in zip(empty, needs))
    elif on_numpy():
        factors = None if weight is None else ready(weight, compute)
        grads = reference.batch_norm2d_backward(
            g, images, running_mean, running_var, factors, training, eps, needs=needs
        )
    else:
        not_recorded()  # numbers for each channel
        given = _numbers(running_mean, C, 0.0), _numbers(running_var, C, 1.0)
        with np.errstate(all="ignore"):
            mean, var = statistics(images, *given, training)
            found = gradients(where, g, images, mean, var, _numbers(weight, C, 1.0), training, eps, needs)
        grads = tuple(a if wanted else None for a, wanted in zip(found, needs))
    grad_x, grad_weight, grad_bias = (None if a is None else a.astype(dtype, copy=False) for a in grads)
    return None if grad_x is None else _as_given(grad_x, layout, unbatched), grad_weight, grad_bias


def _of_channels(where: str, name: str, array: Any, C: int) -> np.ndarray | None:
    if array is not None:
        array = arrays.numeric(where, name, array)
        arrays.same_shape(where, name, array, (C,))
    return array


def _checked_statistics(
    where: str, x: np.ndarray, running_mean: Any, running_var: Any, training: bool, updated: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]:
    C = x.shape[1]
    check_batch(where, x.size // C, x.shape, training)
    found = _of_channels(where, "running_mean", running_mean, C), _of_channels(where, "running_var", running_var, C)
    for name, array in zip(("running_mean", "running_var"), found):
        if array is None and not training:
            raise ValueError(f"{where}: {name} must be given where training is False")
        if array is None or not (training and updated):
            continue
        if array.dtype.kind != "f":
            raise DTypeError(f"{where}: {name}, which training updates, must hold floats, got {array.dtype}")
        if not array.flags.writeable:
            raise ValueError(f"{where}: {name}, which training updates, must be writeable")
    return found


def _numbers(given: np.ndarray | None, C: int, missing: float) -> np.ndarray:
    """A number for each of C channels in float64, `missing` for each where none are given."""
    return np.full(C, missing) if given is None else np.array(given, np.float64)


def update_running(
    running_mean: np.ndarray | None, running_var: np.ndarray | None, mean: np.ndarray, var: np.ndarray, count: int,
    momentum: float,
) -> None:  # fmt: skip
    """Move running statistics towards those of a batch of `count` values for each channel."""
    _move(running_mean, mean, momentum)
    _move(running_var, var * (count / (count - 1)), momentum)


def _move(running: np.ndarray | None, batch: np.ndarray, momentum: float) -> None:
    if running is not None:
        running[...] = (1 - momentum) * running + momentum * batch


def _as_given(images: np.ndarray, layout: str, unbatched: bool) -> np.ndarray:
    return np.ascontiguousarray(arrays.channels_as(images, layout)[0 if unbatched else slice(None)])
