"""Batch normalisation and its gradients; numbers for each channel are float64, images (N, C, H, W)."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.kernels.batch_norm import OPEN, Gate, gradient, gradient_numbers, moments, scale, scaling, sums


@jitable
def check_batch(where: str, count: int, shape: tuple[int, ...], training: bool) -> None:
    """Raise a ShapeError where `training` would take the variance of a single value for each channel."""
    if training and count == 1:
        raise ShapeError("{}: training needs more than one value for each channel, x has shape {}", where, shape)


@jitable
def planes(x: np.ndarray) -> np.ndarray:
    """Images as kernels take them: (N, C, pixels)."""
    return x.reshape((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))


@linked
def statistics(x: np.ndarray, mean: np.ndarray, var: np.ndarray, training: bool) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the variance with which x is normalised: its own where `training`, else those given."""
    if x.size == 0 or not training:
        return mean, var
    C = x.shape[1]
    own_mean, own_var = np.empty(C), np.empty(C)
    moments(planes(x), own_mean, own_var, np.empty((x.shape[0], C, 2)))
    return own_mean, own_var


@linked
def normalise(
    x: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, y: np.ndarray
) -> None:
    """y = x, normalised."""
    if x.size > 0:
        numbers = np.empty((3, x.shape[1]), x.dtype)
        scaling(mean, var, weight, bias, eps, numbers)
        values = planes(x)
        scale(values, numbers, values[:0], numbers, unbounded(x), planes(y))


@jitable
def unbounded(x: np.ndarray) -> np.ndarray:
    """Bounds, of the dtype of x, that clamp nothing: (2,)."""
    return np.array([-np.inf, np.inf]).astype(x.dtype)


@linked
def gradients(
    where: str, g: np.ndarray, x: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, training: bool,
    eps: float, needs: tuple[bool, bool, bool],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The gradients of x, of weight and of bias, the last two in float64; what is not needed means nothing."""
    numbers = np.zeros((3, x.shape[1]), x.dtype)
    gate = Gate(OPEN, numbers, planes(x)[:0], unbounded(x))
    return gated_gradients(where, g, x, mean, var, weight, training, eps, needs, gate)


@linked
def gated_gradients(
    where: str, g: np.ndarray, x: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, training: bool,
    eps: float, needs: tuple[bool, bool, bool], gate: Gate,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """As `gradients`, of what comes back through an activation's gate, which is open unless `training`."""
    C = x.shape[1]
    plain, weighted, grad_weight, numbers = np.zeros(C), np.zeros(C), np.zeros(C), np.zeros((4, C), x.dtype)
    grad_x = empty(where, x.shape if needs[0] else (0, 0, 0, 0), x.dtype, "grad_x")
    if x.size == 0:
        return grad_x, grad_weight, plain
    if training or needs[1] or needs[2]:
        sums(planes(g), planes(x), mean, gate, np.empty((x.shape[0], C, 2)), plain, weighted)
    gradient_numbers(mean, var, weight, eps, plain, weighted, x.size // C, grad_weight, numbers)
    if needs[0] and training:
        gradient(planes(g), planes(x), numbers, gate, planes(grad_x))
    elif needs[0]:  # the statistics are numbers, which x does not change
        factors = np.zeros((3, C), x.dtype)
        factors[1] = numbers[1]
        values = planes(g)
        scale(values, factors, values[:0], factors, unbounded(x), planes(grad_x))
    return grad_x, grad_weight, plain
