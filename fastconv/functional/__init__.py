"""The functional API: every function checks its arguments, plans, allocates, and calls one kernel or a few."""

from fastconv.functional.activation import (
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from fastconv.functional.avg_pool import avg_pool2d, avg_pool2d_backward
from fastconv.functional.batch_norm import batch_norm2d, batch_norm2d_backward
from fastconv.functional.conv import conv2d, conv2d_backward, conv_output_shape
from fastconv.functional.conv1d import conv1d, conv1d_backward
from fastconv.functional.conv_transpose import conv_transpose2d, conv_transpose2d_backward
from fastconv.functional.correlate import convolve2d, correlate2d
from fastconv.functional.dropout import dropout, dropout_backward, dropout_with_mask
from fastconv.functional.global_pool import global_avg_pool2d, global_avg_pool2d_backward
from fastconv.functional.im2col import col2im, im2col
from fastconv.functional.linear import linear, linear_backward
from fastconv.functional.local_response_norm import local_response_norm, local_response_norm_backward
from fastconv.functional.loss import cross_entropy
from fastconv.functional.max_pool import max_pool2d, max_pool2d_backward, max_pool2d_with_indices
from fastconv.functional.unpool import max_unpool2d, max_unpool2d_backward

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm2d",
    "batch_norm2d_backward",
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
    "dropout",
    "dropout_backward",
    "dropout_with_mask",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "im2col",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_with_indices",
    "max_unpool2d",
    "max_unpool2d_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]
