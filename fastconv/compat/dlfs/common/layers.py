"""The layers: `forward` keeps what `backward` needs, and `backward` leaves the gradients of weights in the layer."""

from fastconv.compat.dlfs.common.convolution import Convolution, Pooling
from fastconv.compat.dlfs.common.functions import (
    cross_entropy_error,
    identity_function,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_loss,
    step_function,
    sum_squared_error,
)
from fastconv.compat.dlfs.common.normalisation import BatchNormalization, Dropout
from fastconv.compat.dlfs.common.units import Affine, Relu, Sigmoid, SoftmaxWithLoss
from fastconv.compat.dlfs.common.util import col2im, im2col

__all__ = [
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "col2im",
    "cross_entropy_error",
    "identity_function",
    "im2col",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
]
