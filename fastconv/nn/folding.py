"""Batch normalisation taken into the convolution before it: in inference both are linear."""

from __future__ import annotations

import copy

import numpy as np

from fastconv.errors import ShapeError
from fastconv.nn.base import Layer, Parameter
from fastconv.nn.conv import Conv2d, ConvTranspose2d
from fastconv.nn.norm import BatchNorm2d
from fastconv.nn.residual import Residual
from fastconv.nn.sequential import Sequential


def folded(model: Layer) -> Layer:
    """A model for inference with the same results (but for rounding) and without the batch normalisations in it.

    Each `BatchNorm2d` that comes directly after a `Conv2d` or a `ConvTranspose2d` of a `Sequential` is taken into its
    weights and bias, also inside nested Sequentials and `Residual`s. The given model is left as it is; layers that do
    not change are shared with it.

    Args:
        model: any layer.

    Raises:
        ShapeError: a normalisation has another number of channels than the convolution before it.

    Example:
        >>> model = Sequential(Conv2d(1, 4, 3, bias=False, rng=0), BatchNorm2d(4))
        >>> folded(model)
        Sequential(Conv2d(1, 4, (3, 3), stride=1, padding=0))
    """
    if type(model) is Residual:
        return Residual(folded(model.body), None if model.shortcut is None else folded(model.shortcut))
    if type(model) is not Sequential:
        return model
    layers: list[Layer] = []
    for layer in map(folded, model):
        last = layers[-1] if layers else None
        # a subclass may do something else and is left
        if type(layer) is BatchNorm2d and type(last) in (Conv2d, ConvTranspose2d):
            layers[-1] = _merged(last, layer)  # type: ignore[arg-type]
        else:
            layers.append(layer)
    return Sequential(*layers)


def _merged(conv: Conv2d | ConvTranspose2d, norm: BatchNorm2d) -> Layer:
    weight = conv.weight.value
    mean, var = (b.value.astype(np.float64) for b in (norm.running_mean, norm.running_var))
    groups = conv.options[3]
    OC = weight.shape[0] if isinstance(conv, Conv2d) else weight.shape[1] * groups
    if OC != len(mean):
        raise ShapeError(f"folded: {norm!r} comes after {conv!r}, whose result has {OC} channels")
    with np.errstate(divide="ignore", invalid="ignore"):  # as `batch_norm2d` does it
        factor = (1 if norm.weight is None else norm.weight.value) / np.sqrt(var + norm.eps)
    if isinstance(conv, Conv2d):
        scaled = weight * factor.reshape(OC, 1, 1, 1)
    else:  # its output channels lie along the second axis, group by group along the first
        C, per_group, KH, KW = weight.shape
        parts = weight.reshape(groups, C // groups, per_group, KH, KW) * factor.reshape(groups, 1, per_group, 1, 1)
        scaled = parts.reshape(weight.shape)
    start = np.zeros(OC) if conv.bias is None else conv.bias.value
    bias = (start - mean) * factor + (0 if norm.bias is None else norm.bias.value)
    merged = copy.copy(conv)
    merged.weight = Parameter(scaled.astype(weight.dtype), "weight")
    merged.bias = Parameter(bias.astype(weight.dtype), "bias")
    return merged
