"""A tutorial's network as a model of `fastconv.nn`, with a copy of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.compat import blocks
from fastconv.compat.dlfs import network as dlfs
from fastconv.compat.dlfs.common import layers as dlfs_layers
from fastconv.compat.mlfromscratch.deep_learning import base as mlfs_base
from fastconv.compat.mlfromscratch.deep_learning import neural_network as mlfs
from fastconv.compat.mlfromscratch.deep_learning.converted import of_network
from fastconv.compat.numpy_ml.neural_nets.layers import LayerBase
from fastconv.compat.numpy_ml.neural_nets.layers.converted import of_layers
from fastconv.errors import ShapeError

_BOOK = (
    dlfs_layers.Affine, dlfs_layers.BatchNormalization, dlfs_layers.Convolution, dlfs_layers.Dropout,
    dlfs_layers.Pooling, dlfs_layers.Relu, dlfs_layers.Sigmoid,
)  # fmt: skip


def convert(model: Any) -> nn.Sequential:
    """The `Sequential` that computes what a tutorial's network does in inference, with a copy of its weights.

    Args:
        model: a `NeuralNetwork` of `compat.mlfromscratch`, or a list of its layers; a network of `compat.dlfs`, or its
            `layers`; the four arrays that `compat.nhwc.forward` takes; or a list or dictionary of layers of
            `compat.numpy_ml` that have seen a batch.

    Returns:
        A model for images (N, C, H, W), also where the tutorial has the channels last. Where a tutorial's network ends
        with probabilities, so does the model; `fastconv.fit` and `cross_entropy` take the logits of `model[:-1]`.

    Raises:
        TypeError: it is none of these.
        ValueError: a layer has no counterpart, or has no weights yet.

    Example:
        >>> from fastconv.compat.dlfs import SimpleConvNet
        >>> network = SimpleConvNet()
        >>> model, x = convert(network), np.ones((2, 1, 28, 28))
        >>> np.abs(model(x) - network.predict(x)).max() < 1e-15
        np.True_
    """
    if isinstance(model, mlfs.NeuralNetwork):
        return of_network(model.layers)
    if isinstance(model, dlfs.Network):
        return _copied(model.model)
    layers = list(model.values()) if isinstance(model, Mapping) else list(model) if isinstance(model, Sequence) else []
    if layers and all(isinstance(layer, mlfs_base.Layer) for layer in layers):
        return of_network(layers)
    if layers and all(isinstance(layer, LayerBase) for layer in layers):
        return of_layers(layers)
    if layers and all(isinstance(layer, _BOOK) for layer in layers):
        return _copied(dlfs.sequential(layers))
    if len(layers) == 4 and all(isinstance(layer, np.ndarray) for layer in layers):
        return _of_arrays(layers)
    raise TypeError(
        "convert: model must be a network or layers of compat.mlfromscratch, compat.dlfs or compat.numpy_ml, or the "
        f"four arrays of compat.nhwc, got {type(model).__name__}"
    )


def _copied(model: nn.Sequential) -> nn.Sequential:
    """The model with its own arrays."""
    for parameter in model.parameters():
        parameter.value = parameter.value.copy()
    return model


def _of_arrays(arrays: Sequence[np.ndarray]) -> nn.Sequential:
    filter1, filter2, w3, w4 = arrays
    if filter1.ndim != 4 or filter2.ndim != 4 or w3.ndim != 2 or w4.ndim != 2:
        shapes = [array.shape for array in arrays]
        raise ShapeError(f"convert: model must be two arrays of filters and two of dense weights, got shapes {shapes}")
    layers: list[nn.Layer] = []
    for filters in (filter1, filter2):
        layers += [blocks.convolution(filters.transpose(0, 3, 1, 2).copy(), None, 1, 0), nn.ReLU(), nn.MaxPool2d(2)]
    # what is flattened is channel-major in this tutorial too
    layers += [nn.Flatten(), blocks.product(w3.copy(), None), nn.ReLU(), blocks.product(w4.copy(), None), nn.Softmax()]
    return _copied(nn.Sequential(*layers))
