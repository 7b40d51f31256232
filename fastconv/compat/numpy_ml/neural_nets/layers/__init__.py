"""The layers of convolutional networks, channels last."""

from fastconv.compat.numpy_ml.neural_nets.layers.base import LayerBase
from fastconv.compat.numpy_ml.neural_nets.layers.convolution import Conv1D, Conv2D, Deconv2D
from fastconv.compat.numpy_ml.neural_nets.layers.pooling import Pool2D
from fastconv.compat.numpy_ml.neural_nets.layers.units import BatchNorm2D, Flatten, FullyConnected, Softmax

__all__ = [
    "BatchNorm2D",
    "Conv1D",
    "Conv2D",
    "Deconv2D",
    "Flatten",
    "FullyConnected",
    "LayerBase",
    "Pool2D",
    "Softmax",
]
