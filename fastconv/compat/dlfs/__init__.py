"""Deep Learning from Scratch: its layers, functions, optimisers, trainer and networks, for images (N, C, H, W).

The modules have the book's paths: an import needs `fastconv.compat.dlfs.` before `common`, `simple_convnet`,
`deep_convnet` or `dataset`. Each name is here too. Results have the dtype of the arguments.

Source: names and behaviour of K. Saitoh, Deep Learning from Scratch (2016), chapters 4 to 8.
"""

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
from fastconv.compat.dlfs.common.gradient import numerical_gradient, numerical_gradient_2d
from fastconv.compat.dlfs.common.layers import (
    Affine,
    BatchNormalization,
    Convolution,
    Dropout,
    Pooling,
    Relu,
    Sigmoid,
    SoftmaxWithLoss,
)
from fastconv.compat.dlfs.common.optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from fastconv.compat.dlfs.common.trainer import Trainer
from fastconv.compat.dlfs.common.util import col2im, conv_output_size, im2col, shuffle_dataset, smooth_curve
from fastconv.compat.dlfs.dataset.mnist import load_mnist
from fastconv.compat.dlfs.deep_convnet import DeepConvNet
from fastconv.compat.dlfs.simple_convnet import SimpleConvNet

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "Affine",
    "BatchNormalization",
    "Convolution",
    "DeepConvNet",
    "Dropout",
    "Momentum",
    "Nesterov",
    "Pooling",
    "RMSprop",
    "Relu",
    "Sigmoid",
    "SimpleConvNet",
    "SoftmaxWithLoss",
    "Trainer",
    "col2im",
    "conv_output_size",
    "cross_entropy_error",
    "identity_function",
    "im2col",
    "load_mnist",
    "numerical_gradient",
    "numerical_gradient_2d",
    "relu",
    "relu_grad",
    "shuffle_dataset",
    "sigmoid",
    "sigmoid_grad",
    "smooth_curve",
    "softmax",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
]
