"""Layers as those of `fastconv.nn`, channels first, with a copy of their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.compat import blocks
from fastconv.compat.numpy_ml.neural_nets import activations as acts
from fastconv.compat.numpy_ml.neural_nets.layers.base import LayerBase
from fastconv.compat.numpy_ml.neural_nets.layers.convolution import Conv2D, Deconv2D
from fastconv.compat.numpy_ml.neural_nets.layers.pooling import Pool2D
from fastconv.compat.numpy_ml.neural_nets.layers.units import BatchNorm2D, Flatten, FullyConnected, Softmax
from fastconv.compat.numpy_ml.neural_nets.utils.padding import as_pads, pads_2D
from fastconv.errors import UnsupportedError


def of_layers(layers: Sequence[LayerBase]) -> nn.Sequential:
    """The model of layers in a row, for images (N, C, H, W).

    Raises:
        ValueError: a layer has no counterpart, or has no weights yet.
    """
    found: list[nn.Layer] = []
    channels, flat = 0, False  # how many there are, and whether the next product takes images as rows (y, x, c)
    for layer in layers:
        if isinstance(layer, FullyConnected):
            W, b = _weights(layer, "W", "b")
            if flat and channels > 1:
                W = W.reshape(-1, channels, W.shape[1]).transpose(1, 0, 2).reshape(W.shape)  # to rows (c, y, x)
            found.append(blocks.product(W, b.reshape(-1)))
            flat = False
        elif isinstance(layer, Flatten) and layer.keep_dim == "first":
            found.append(nn.Flatten())
            flat = True
        elif isinstance(layer, Softmax) and layer.dim in (-1, 1):
            found.append(nn.Softmax())
        else:
            found.append(_of_images(layer))
            channels = int(layer.hyperparameters["out_ch"])
        found += _activation(layer)
    return nn.Sequential(*found)


def _weights(layer: LayerBase, *names: str) -> list[np.ndarray]:
    found = [layer.parameters[name] for name in names]
    if any(value is None for value in found):
        raise ValueError(f"convert: {type(layer).__name__} has no weights before its first batch")
    return [np.array(value) for value in found]


def _of_images(layer: Any) -> nn.Layer:
    where = f"convert: {type(layer).__name__}"
    if isinstance(layer, Conv2D):
        W, b = _weights(layer, "W", "b")
        padding = _pads(where, layer.pad, layer.kernel_shape, layer.stride, layer.dilation)
        filters = np.ascontiguousarray(W.transpose(3, 2, 0, 1))
        return blocks.convolution(filters, b.reshape(-1), layer.stride, padding, layer.dilation + 1)
    if isinstance(layer, Deconv2D):
        W, b = _weights(layer, "W", "b")
        kernels, padding = W.transpose(2, 3, 0, 1), _pads(where, layer.pad, layer.kernel_shape, 1, 0)
        (KH, KW, C, OC), dtype = W.shape, W.dtype
        found = nn.ConvTranspose2d(C, OC, (KH, KW), layer.stride, padding, dtype=dtype)
        found.weight, found.bias = nn.Parameter(kernels, "weight"), nn.Parameter(b.reshape(-1), "bias")
        return found
    if isinstance(layer, Pool2D):
        if layer.pad != 0:
            raise UnsupportedError(f"{where} with padding counts it as 0, which no layer of fastconv.nn does")
        if layer.out_ch is None:
            raise ValueError(f"{where} must have seen a batch")
        return (nn.MaxPool2d if layer.mode == "max" else nn.AvgPool2d)(layer.kernel_shape, layer.stride)
    if isinstance(layer, BatchNorm2D):
        scaler, intercept, mean, var = _weights(layer, "scaler", "intercept", "running_mean", "running_var")
        norm = nn.BatchNorm2d(len(scaler), layer.epsilon, 1 - layer.momentum, dtype=scaler.dtype)
        norm.weight, norm.bias = nn.Parameter(scaler, "weight"), nn.Parameter(intercept, "bias")
        norm.running_mean.value, norm.running_var.value = mean, var
        return norm
    raise UnsupportedError(f"{where} has no counterpart in fastconv.nn")


def _pads(where: str, pad: Any, kernel: tuple[int, int], stride: int, dilation: int) -> Any:
    if pad == "same" and stride != 1:
        raise UnsupportedError(f"{where} with pad 'same' and a stride needs the size of the images; give numbers")
    # with stride 1 the same for images of any size
    size = (1, *(k + (k - 1) * dilation for k in kernel), 1)
    return as_pads(pads_2D(where, size, pad, kernel, stride, dilation))


_ACTIVATIONS: dict[type, Callable[[Any], list[nn.Layer]]] = {
    acts.Identity: lambda _: [], acts.ReLU: lambda _: [nn.ReLU()], acts.Sigmoid: lambda _: [nn.Sigmoid()],
    acts.Tanh: lambda _: [nn.Tanh()], acts.LeakyReLU: lambda function: [nn.LeakyReLU(function.alpha)],
}  # fmt: skip


def _activation(layer: LayerBase) -> list[nn.Layer]:
    function = layer.act_fn
    if type(function) in _ACTIVATIONS:
        return _ACTIVATIONS[type(function)](function)
    return [Applied(function)]


class Applied(nn.Layer):
    """An activation that `fastconv.nn` has no layer for."""

    def __init__(self, function: acts.ActivationBase):
        self.function = function

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The function of every element."""
        return self.function.fn(x)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, nn.Backward]:
        """The function of every element, and its gradient."""
        return self(x), lambda grad: grad * self.function.grad(x)

    def __repr__(self) -> str:
        return str(self.function)
