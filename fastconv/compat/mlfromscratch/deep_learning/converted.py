"""Layers as those of `fastconv.nn`, with a copy of their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.compat import blocks
from fastconv.compat.features import normalised, normalised_backward
from fastconv.compat.mlfromscratch.deep_learning.base import Layer
from fastconv.compat.mlfromscratch.deep_learning.columns import determine_padding
from fastconv.compat.mlfromscratch.deep_learning.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
)

_ACTIVATIONS: dict[str, Callable[[Any], nn.Layer]] = {
    "relu": lambda _: nn.ReLU(), "sigmoid": lambda _: nn.Sigmoid(), "tanh": lambda _: nn.Tanh(),
    "softmax": lambda _: nn.Softmax(), "leaky_relu": lambda function: nn.LeakyReLU(function.alpha),
}  # fmt: skip


class FeatureNorm(nn.Layer):
    """Every feature with the mean 0 and the variance 1 that training has found, times gamma, plus beta.

    Gradients go to gamma and beta; the statistics stay. `nn.BatchNorm2d` has them for channels, not for every pixel.

    Args:
        gamma: of the shape of a sample.
        beta: likewise.
        mean: likewise.
        var: likewise.
        eps: added to the variance.
    """

    def __init__(self, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray, eps: float):
        self.weight, self.bias = nn.Parameter(gamma.copy(), "weight"), nn.Parameter(beta.copy(), "bias")
        self.running_mean = nn.Buffer(np.array(mean, gamma.dtype), "running_mean")
        self.running_var = nn.Buffer(np.array(var, gamma.dtype), "running_var")
        self.eps = eps

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The normalised batch."""
        statistics = self.running_mean.value, self.running_var.value
        return normalised(x, *statistics, self.weight.value, self.bias.value, self.eps)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, nn.Backward]:
        """The normalised batch, and its gradient."""

        def backward(grad: np.ndarray) -> np.ndarray:
            statistics = self.running_mean.value, self.running_var.value
            grad_x, weight, bias = normalised_backward(grad, x, *statistics, self.weight.value, self.eps, False)
            self.weight.accumulate(weight.reshape(self.weight.value.shape))
            self.bias.accumulate(bias.reshape(self.bias.value.shape))
            return grad_x

        return self(x), backward


def of_network(layers: Sequence[Layer]) -> nn.Sequential:
    """The model of a network's layers.

    Raises:
        ValueError: a layer has no weights yet.
    """
    return nn.Sequential(*(_modern(layer) for layer in layers))


def _weights(layer: Any, *names: str) -> list[np.ndarray]:
    found = [getattr(layer, name, None) for name in names]
    if any(value is None for value in found):
        raise ValueError(f"convert: {layer.layer_name()} has no weights yet; add it to a network, or train it")
    return [np.array(value, order="K") for value in found]


def _modern(layer: Layer) -> nn.Layer:
    if isinstance(layer, Conv2D):
        W, w0 = _weights(layer, "W", "w0")
        return blocks.convolution(W, w0[:, 0], layer.stride, determine_padding(layer.filter_shape, layer.padding))
    if isinstance(layer, Dense):
        W, w0 = _weights(layer, "W", "w0")
        return blocks.product(W, w0[0])
    if isinstance(layer, BatchNormalization):
        gamma, beta, mean, var = _weights(layer, "gamma", "beta", "running_mean", "running_var")
        return FeatureNorm(gamma, beta, mean, var, layer.eps)
    if isinstance(layer, Activation) and layer.activation_name in _ACTIVATIONS:
        return _ACTIVATIONS[layer.activation_name](layer.activation_func)
    if isinstance(layer, Flatten):
        return nn.Flatten()
    if isinstance(layer, MaxPooling2D):
        return nn.MaxPool2d(layer.pool_shape, layer.stride, layer._pads())
    if isinstance(layer, AveragePooling2D):
        return nn.AvgPool2d(layer.pool_shape, layer.stride, layer._pads())
    if isinstance(layer, Dropout) or type(layer).__module__.startswith(__package__ or ""):
        # without weights, or recurrent: as it is
        inference, training = (lambda x, mode=mode: layer.forward_pass(x, mode) for mode in (False, True))
        return blocks.Passed(layer.layer_name(), inference, training, layer.backward_pass)
    raise ValueError(f"convert: {layer.layer_name()} is no layer of compat.mlfromscratch")
