"""Batch normalisation and its gradients; numbers for each channel are float64, images (N, C, H, W)."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.kernels.batch_norm import gradient, gradient_numbers, moments, scale, scaling, sums


@jitable
def check_batch(where: str, count: int, shape: tuple[int, ...], training: bool) -> None:
    """Raise a ShapeError where `training` would take the variance of a single value for each channel."""
    if training and count == 1:
        raise ShapeError("{}: training needs more than one value for each channel, x has shape {}", where, shape)


@jitable
def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))


@linked
def statistics(x: np.ndarray, mean: np.ndarray, var: np.ndarray, training: bool) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the variance with which x is normalised: its own where `training`, else those given."""
    if x.size == 0 or not training:
        return mean, var
    own_mean, own_var = np.empty(x.shape[1]), np.empty(x.shape[1])
    moments(_flat(x), own_mean, own_var)
    return own_mean, own_var


@linked
def normalise(
    x: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float, y: np.ndarray
) -> None:
    """y = x, normalised."""
    if x.size > 0:
        numbers = np.empty((3, x.shape[1]), x.dtype)
        scaling(mean, var, weight, bias, eps, numbers)
        scale(_flat(x), numbers[0], numbers[1], numbers[2], _flat(y))


@linked
def gradients(
    where: str, g: np.ndarray, x: np.ndarray, mean: np.ndarray, var: np.ndarray, weight: np.ndarray, training: bool,
    eps: float, needs: tuple[bool, bool, bool],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The gradients of x, of weight and of bias, the last two in float64; what is not needed means nothing."""
    C = x.shape[1]
    plain, weighted, grad_weight, numbers = np.zeros(C), np.zeros(C), np.zeros(C), np.zeros((4, C), x.dtype)
    grad_x = empty(where, x.shape if needs[0] else (0, 0, 0, 0), x.dtype, "grad_x")
    if x.size == 0:
        return grad_x, grad_weight, plain
    if training or needs[1] or needs[2]:
        sums(_flat(g), _flat(x), mean, plain, weighted)
    gradient_numbers(mean, var, weight, eps, plain, weighted, x.size // C, grad_weight, numbers)
    if needs[0] and training:
        gradient(_flat(g), _flat(x), numbers[0], numbers[1], numbers[2], numbers[3], _flat(grad_x))
    elif needs[0]:
        zeros = np.zeros(C, x.dtype)
        scale(_flat(g), zeros, numbers[1], zeros, _flat(grad_x))
    return grad_x, grad_weight, plain
