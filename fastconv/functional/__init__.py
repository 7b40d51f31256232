"""The functional API: every function checks its arguments, plans, allocates, and calls one kernel or a few."""

from fastconv.functional.activation import (
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from fastconv.functional.conv import conv2d, conv2d_backward, conv_output_shape
from fastconv.functional.conv1d import conv1d, conv1d_backward
from fastconv.functional.conv_transpose import conv_transpose2d, conv_transpose2d_backward
from fastconv.functional.correlate import convolve2d, correlate2d
from fastconv.functional.im2col import col2im, im2col
from fastconv.functional.linear import linear, linear_backward
from fastconv.functional.loss import cross_entropy
from fastconv.functional.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_with_indices,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "col2im",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv_output_shape",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "convolve2d",
    "correlate2d",
    "cross_entropy",
    "im2col",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_with_indices",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]
