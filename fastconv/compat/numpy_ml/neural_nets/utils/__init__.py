"""Padding, columns and convolutions of images (N, H, W, C) and sequences (N, L, C), batches, and random weights."""

from fastconv.compat.numpy_ml.neural_nets.utils.convolution import (
    calc_conv_out_dims,
    conv1D,
    conv2D,
    conv2D_naive,
    deconv2D_naive,
)
from fastconv.compat.numpy_ml.neural_nets.utils.padding import (
    calc_pad_dims_1D,
    calc_pad_dims_2D,
    col2im,
    dilate,
    im2col,
    pad1D,
    pad2D,
)
from fastconv.compat.numpy_ml.neural_nets.utils.weights import (
    calc_fan,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    minibatch,
    truncated_normal,
)

__all__ = [
    "calc_conv_out_dims",
    "calc_fan",
    "calc_pad_dims_1D",
    "calc_pad_dims_2D",
    "col2im",
    "conv1D",
    "conv2D",
    "conv2D_naive",
    "deconv2D_naive",
    "dilate",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "im2col",
    "minibatch",
    "pad1D",
    "pad2D",
    "truncated_normal",
]
