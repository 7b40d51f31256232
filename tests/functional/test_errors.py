"""Calls that must fail, each with the message a user needs; and junk, which may fail but must not crash or lie."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from every import FUNCTIONS
from fuzz import TorchLike

import fastconv
from fastconv import reference
from fastconv.errors import DTypeError, ShapeError


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


X, W, G = ones(2, 4, 8, 8), ones(6, 4, 3, 3), ones(2, 6, 6, 6)
T = ones(4, 6, 3, 3)  # weight of a transposed convolution
F = fastconv

NOT_ARRAYS = {
    "list": [[1.0]],
    "None": None,
    "str": "x",
    "float": 1.0,
    "NumPy scalar": np.float32(1),
    "object": ones(1, 1, 4, 4).astype(object),
    "complex": ones(1, 1, 4, 4, dtype=np.complex64),
    "datetime": np.zeros((1, 1, 4, 4), "M8[s]"),
    "timedelta": np.zeros((1, 1, 4, 4), "m8[s]"),
    "bytes": np.zeros((1, 1, 4, 4), "S3"),
    "record": np.zeros((1, 1, 4, 4), "i4,f4"),
    "longdouble": ones(1, 1, 4, 4, dtype=np.longdouble),
    "masked": np.ma.masked_array(ones(1, 1, 4, 4), mask=False),
    "torch-like": TorchLike(),
}
# a call of every function with `bad` in place of each of its arrays
TAKES_ARRAY = {
    "conv2d x": lambda bad: F.conv2d(bad, W),
    "conv2d weight": lambda bad: F.conv2d(X, bad),
    "conv2d bias": lambda bad: F.conv2d(X, W, bad),
    "conv2d_backward grad_output": lambda bad: F.conv2d_backward(bad, X, W),
    "conv2d_backward x": lambda bad: F.conv2d_backward(G, bad, W),
    "conv2d_backward weight": lambda bad: F.conv2d_backward(G, X, bad),
    "conv_transpose2d x": lambda bad: F.conv_transpose2d(bad, T),
    "conv_transpose2d weight": lambda bad: F.conv_transpose2d(X, bad),
    "conv_transpose2d bias": lambda bad: F.conv_transpose2d(X, T, bad),
    "conv_transpose2d_backward grad_output": lambda bad: F.conv_transpose2d_backward(bad, X, T),
    "conv_transpose2d_backward x": lambda bad: F.conv_transpose2d_backward(ones(2, 6, 10, 10), bad, T),
    "conv_transpose2d_backward weight": lambda bad: F.conv_transpose2d_backward(ones(2, 6, 10, 10), X, bad),
    "conv1d x": lambda bad: F.conv1d(bad, W[:, :, 0]),
    "conv1d weight": lambda bad: F.conv1d(X[0], bad),
    "conv1d bias": lambda bad: F.conv1d(X[:, :, 0], W[:, :, 0], bad),
    "conv1d_backward grad_output": lambda bad: F.conv1d_backward(bad, X[:, :, 0], W[:, :, 0]),
    "conv1d_backward x": lambda bad: F.conv1d_backward(G[:, :, 0], bad, W[:, :, 0]),
    "conv1d_backward weight": lambda bad: F.conv1d_backward(G[:, :, 0], X[:, :, 0], bad),
    "correlate2d x": lambda bad: F.correlate2d(bad, ones(1, 1)),
    "correlate2d kernel": lambda bad: F.correlate2d(ones(4, 4), bad),
    "convolve2d x": lambda bad: F.convolve2d(bad, ones(1, 1)),
    "convolve2d kernel": lambda bad: F.convolve2d(ones(4, 4), bad),
    "im2col x": lambda bad: F.im2col(bad, 2),
    "col2im cols": lambda bad: F.col2im(bad, (1, 1, 3, 3), 2),
    "max_pool2d x": lambda bad: F.max_pool2d(bad, 2),
    "max_pool2d_with_indices x": lambda bad: F.max_pool2d_with_indices(bad, 2),
    "max_pool2d_backward grad_output": lambda bad: F.max_pool2d_backward(
        bad, np.zeros((1, 1, 1, 1), int), (1, 1, 2, 2)
    ),
    "max_pool2d_backward indices": lambda bad: F.max_pool2d_backward(ones(1, 1, 1, 1), bad, (1, 1, 2, 2)),
    "avg_pool2d x": lambda bad: F.avg_pool2d(bad, 2),
    "avg_pool2d_backward grad_output": lambda bad: F.avg_pool2d_backward(bad, (1, 1, 4, 4), 2),
    "max_unpool2d x": lambda bad: F.max_unpool2d(bad, np.zeros((1, 1, 1, 1), int), (1, 1, 2, 2)),
    "max_unpool2d indices": lambda bad: F.max_unpool2d(ones(1, 1, 1, 1), bad, (1, 1, 2, 2)),
    "max_unpool2d_backward grad_output": lambda bad: F.max_unpool2d_backward(bad, np.zeros((1, 1, 1, 1), int)),
    "max_unpool2d_backward indices": lambda bad: F.max_unpool2d_backward(ones(1, 1, 1, 1), bad),
    "global_avg_pool2d x": lambda bad: F.global_avg_pool2d(bad),
    "global_avg_pool2d_backward grad_output": lambda bad: F.global_avg_pool2d_backward(bad, (1, 1, 4, 4)),
    "linear x": lambda bad: F.linear(bad, ones(2, 3)),
    "linear weight": lambda bad: F.linear(ones(2, 3), bad),
    "linear bias": lambda bad: F.linear(ones(2, 3), ones(2, 3), bad),
    "linear_backward grad_output": lambda bad: F.linear_backward(bad, ones(2, 3), ones(2, 3)),
    "linear_backward x": lambda bad: F.linear_backward(ones(2, 2), bad, ones(2, 3)),
    "linear_backward weight": lambda bad: F.linear_backward(ones(2, 2), ones(2, 3), bad),
    "batch_norm2d x": lambda bad: F.batch_norm2d(bad, ones(4), ones(4)),
    "batch_norm2d running_mean": lambda bad: F.batch_norm2d(X, bad, ones(4), training=bad is None),
    "batch_norm2d running_var": lambda bad: F.batch_norm2d(X, ones(4), bad, training=bad is None),
    "batch_norm2d weight": lambda bad: F.batch_norm2d(X, ones(4), ones(4), bad),
    "batch_norm2d bias": lambda bad: F.batch_norm2d(X, ones(4), ones(4), None, bad),
    "batch_norm2d_backward grad_output": lambda bad: F.batch_norm2d_backward(bad, X, ones(4), ones(4)),
    "batch_norm2d_backward x": lambda bad: F.batch_norm2d_backward(X, bad, ones(4), ones(4)),
    "batch_norm2d_backward running_mean": lambda bad: F.batch_norm2d_backward(X, X, bad, ones(4), training=bad is None),
    "batch_norm2d_backward running_var": lambda bad: F.batch_norm2d_backward(X, X, ones(4), bad, training=bad is None),
    "batch_norm2d_backward weight": lambda bad: F.batch_norm2d_backward(X, X, ones(4), ones(4), bad),
    "local_response_norm x": lambda bad: F.local_response_norm(bad, 3),
    "local_response_norm_backward grad_output": lambda bad: F.local_response_norm_backward(bad, X, 3),
    "local_response_norm_backward x": lambda bad: F.local_response_norm_backward(X, bad, 3),
    "dropout x": lambda bad: F.dropout(bad, 0.5, 0),
    "dropout_with_mask x": lambda bad: F.dropout_with_mask(bad, 0.5, 0),
    "dropout_backward grad_output": lambda bad: F.dropout_backward(bad, np.array([True]), 0.5),
    "dropout_backward mask": lambda bad: F.dropout_backward(ones(1), bad, 0.5),
    "leaky_relu x": lambda bad: F.leaky_relu(bad),
    "leaky_relu_backward grad_output": lambda bad: F.leaky_relu_backward(bad, ones(3)),
    "leaky_relu_backward x": lambda bad: F.leaky_relu_backward(ones(3), bad),
    "relu x": lambda bad: F.relu(bad),
    "relu6 x": lambda bad: F.relu6(bad),
    "relu6_backward grad_output": lambda bad: F.relu6_backward(bad, ones(3)),
    "relu6_backward y": lambda bad: F.relu6_backward(ones(3), bad),
    "relu_backward grad_output": lambda bad: F.relu_backward(bad, ones(3)),
    "relu_backward y": lambda bad: F.relu_backward(ones(3), bad),
    "sigmoid x": lambda bad: F.sigmoid(bad),
    "sigmoid_backward grad_output": lambda bad: F.sigmoid_backward(bad, ones(3)),
    "sigmoid_backward y": lambda bad: F.sigmoid_backward(ones(3), bad),
    "tanh x": lambda bad: F.tanh(bad),
    "tanh_backward grad_output": lambda bad: F.tanh_backward(bad, ones(3)),
    "tanh_backward y": lambda bad: F.tanh_backward(ones(3), bad),
    "softmax x": lambda bad: F.softmax(bad),
    "softmax_backward grad_output": lambda bad: F.softmax_backward(bad, ones(3)),
    "softmax_backward y": lambda bad: F.softmax_backward(ones(3), bad),
    "log_softmax x": lambda bad: F.log_softmax(bad),
    "log_softmax_backward grad_output": lambda bad: F.log_softmax_backward(bad, ones(3)),
    "log_softmax_backward y": lambda bad: F.log_softmax_backward(ones(3), bad),
    "cross_entropy logits": lambda bad: F.cross_entropy(bad, np.array([0])),
    "cross_entropy target": lambda bad: F.cross_entropy(ones(1, 2), bad),
}


def test_every_array_has_a_row():
    arguments = {
        f"{name} {argument}"
        for name in FUNCTIONS
        for argument, parameter in inspect.signature(getattr(F, name)).parameters.items()
        if "ndarray" in parameter.annotation and argument != "out"
    }
    assert set(TAKES_ARRAY) == arguments


@pytest.mark.parametrize("call", TAKES_ARRAY)
@pytest.mark.parametrize("kind", NOT_ARRAYS)
def test_not_an_array(call, kind):
    if NOT_ARRAYS[kind] is None and call.startswith("batch_norm2d") and not call.endswith((" x", "grad_output")):
        TAKES_ARRAY[call](None)  # a batch's own statistics, no weight, no bias
        return
    if NOT_ARRAYS[kind] is None and call.endswith("bias"):
        np.testing.assert_array_equal(
            TAKES_ARRAY[call](None), TAKES_ARRAY[call](np.zeros(len(W) if "conv" in call else 2))
        )
        return
    where, name = call.split()
    with pytest.raises(DTypeError, match=f"^{where}: {name} "):
        TAKES_ARRAY[call](NOT_ARRAYS[kind])


UINT8 = np.uint8(200)
SHAPES = [
    # channels and groups
    (
        lambda: F.conv2d(X, ones(2, 3, 3, 3)),
        "conv2d: weight has 3 input channels per group, x has 4 channels / 1 groups",
    ),
    (lambda: F.conv2d(X, W, groups=2), "conv2d: weight has 4 input channels per group, x has 4 channels / 2 groups"),
    (
        lambda: F.conv2d(X, ones(5, 2, 3, 3), groups=2),
        "conv2d: weight has 5 output channels, which 2 groups do not divide",
    ),
    (lambda: F.conv2d(X, W, groups=0), "conv2d: groups must be from 1 to 2147483647, got 0"),
    (
        lambda: F.conv2d(X, ones(0, 4, 3, 3)),
        "conv2d: weight must have at least one channel each way, got shape (0, 4, 3, 3)",
    ),
    (
        lambda: F.conv2d(X, ones(6, 0, 3, 3)),
        "conv2d: weight must have at least one channel each way, got shape (6, 0, 3, 3)",
    ),
    (
        lambda: F.conv_output_shape((1, 4, 8, 8), (6, 3, 3, 3)),
        "weight has 3 input channels per group, x has 4 channels",
    ),
    # ranks
    (lambda: F.conv2d(ones(8, 8), W), "conv2d: x must have 4 dimensions, or 3 without a batch, got shape (8, 8)"),
    (lambda: F.conv2d(ones(1, 1, 4, 8, 8), W), "conv2d: x must have 4 dimensions"),
    (
        lambda: F.conv2d(X, ones(4, 3, 3)),
        "conv2d: weight must have 4 dimensions (OC, C/groups, KH, KW), got shape (4, 3, 3)",
    ),
    (lambda: F.im2col(ones(8, 8), 2), "im2col: x must have 4 dimensions"),
    (lambda: F.max_pool2d(ones(8, 8), 2), "max_pool2d: x must have 4 dimensions"),
    (lambda: F.avg_pool2d(ones(8), 2), "avg_pool2d: x must have 4 dimensions"),
    (lambda: F.linear(ones(2, 3, 4), ones(2, 4)), "linear: x must have shape (N, IN) or (IN,), got (2, 3, 4)"),
    (lambda: F.linear(ones(2, 3), ones(3)), "linear: weight must have shape (OUT, IN) without a zero, got (3,)"),
    (lambda: F.linear(ones(2, 3), ones(2, 4)), "linear: weight takes 4 inputs, x has shape (2, 3)"),
    (
        lambda: F.linear_backward(ones(2, 3), ones(2, 3), ones(2, 3)),
        "linear_backward: grad_output must have shape (2, 2), got (2, 3)",
    ),
    (
        lambda: F.cross_entropy(ones(3), np.array([0])),
        "cross_entropy: logits must have shape (N, K) with K at least 1, got (3,)",
    ),
    (lambda: F.cross_entropy(ones(2, 0), np.array([0, 0])), "with K at least 1, got (2, 0)"),
    (lambda: F.cross_entropy(ones(2, 3), np.array([0])), "cross_entropy: target must have shape (2,), got (1,)"),
    (lambda: F.cross_entropy(ones(2, 3), ones(2, 2)), "cross_entropy: target must have shape (2, 3), got (2, 2)"),
    (lambda: F.conv_output_shape((8, 8), W.shape), "conv_output_shape: input_shape must have 4 sizes, got (8, 8)"),
    # strides, dilations, paddings
    (lambda: F.conv2d(X, W, stride=0), "conv2d: stride must be from 1 to 2147483647, got 0"),
    (lambda: F.conv2d(X, W, stride=(1, -1)), "conv2d: stride must be from 1 to 2147483647, got -1"),
    (lambda: F.conv2d(X, W, stride=(1, 1, 1)), "conv2d: stride must be one integer or two, got (1, 1, 1)"),
    (lambda: F.conv2d(X, W, dilation=0), "conv2d: dilation must be from 1 to"),
    (lambda: F.conv2d(X, W, padding=-1), "conv2d: padding must be from 0 to 2147483647, got -1"),
    (lambda: F.conv2d(X, W, padding=((1, 1), (1, -1))), "conv2d: padding must be from 0 to 2147483647, got -1"),
    (lambda: F.conv2d(X, W, padding=((1, 1), (1,))), "conv2d: padding must be ((top, bottom), (left, right))"),
    (lambda: F.conv2d(X, W, padding=(1, 2, 3)), "conv2d: padding must be one integer or two, got (1, 2, 3)"),
    (lambda: F.conv2d(X, W, padding="SAME"), "one of valid, same, same_upper, same_lower, full, got 'SAME'"),
    (lambda: F.im2col(X, 2, padding="causal"), "im2col: padding must be integers or one of"),
    (lambda: F.im2col(X, 0), "im2col: kernel_size must be from 1 to"),
    (lambda: F.max_pool2d(X, 0), "max_pool2d: kernel_size must be from 1 to"),
    (lambda: F.avg_pool2d(X, 2, 0), "avg_pool2d: stride must be from 1 to"),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), "avg_pool2d: divisor_override must be from 1 to"),
    # "same" names its alternatives
    (
        lambda: F.conv2d(X, W, stride=2, padding="same"),
        'conv2d: padding="same" needs stride 1, got stride 2; "same_upper"',
    ),
    (lambda: F.conv2d(X, W, stride=2, padding="same"), '"same_lower"'),
    # kernels that fit nowhere
    (
        lambda: F.conv2d(X, ones(1, 4, 9, 1)),
        "conv2d: the kernel's height 9 (kernel 9, dilation 1) is larger than the padded input's height 8 (8 + 0 + 0)",
    ),
    (lambda: F.conv2d(X, W, dilation=4), "the kernel's height 9 (kernel 3, dilation 4)"),
    (lambda: F.conv2d(X, W, dilation=(1, UINT8)), "the kernel's width 401 (kernel 3, dilation 200)"),
    (lambda: F.max_pool2d(X, 9), "max_pool2d: the kernel's height 9"),
    (lambda: F.avg_pool2d(X, (1, 9)), "avg_pool2d: the kernel's width 9"),
    (lambda: F.im2col(X, 9), "im2col: the kernel's height 9"),
    (lambda: F.conv2d(X, ones(1, 4, 0, 3)), "conv2d: the kernel must have at least one pixel, its height is 0"),
    # images without pixels
    (lambda: F.conv2d(ones(2, 4, 0, 8), W, padding=3), "conv2d: x must have at least one pixel, its height is 0"),
    (lambda: F.conv2d(ones(2, 4, 8, 0), W, padding=3), "conv2d: x must have at least one pixel, its width is 0"),
    (
        lambda: F.conv2d(ones(2, 0, 8, 8), W),
        "conv2d: weight has 4 input channels per group, x has 0 channels / 1 groups",
    ),
    (lambda: F.im2col(ones(1, 0, 8, 8), 2), "im2col: x must have at least one channel, got 0"),
    (lambda: F.im2col(ones(1, 1, 0, 8), 2), "im2col: x must have at least one pixel"),
    (lambda: F.max_pool2d(ones(1, 1, 0, 8), 2), "max_pool2d: x must have at least one pixel"),
    (lambda: F.max_pool2d(ones(1, 0, 8, 8), 2), "max_pool2d: x must have at least one channel"),
    (lambda: F.avg_pool2d(ones(1, 1, 8, 0), 2), "avg_pool2d: x must have at least one pixel"),
    (lambda: F.softmax(ones(2, 0)), "softmax: axis -1 of an array of shape (2, 0) does not exist or is empty"),
    (lambda: F.softmax(ones(2, 3), 2), "softmax: axis 2 of an array of shape (2, 3) does not exist or is empty"),
    (lambda: F.log_softmax(ones(2, 3), -3), "log_softmax: axis must be from -2"),
    # the shape of the other arrays
    (lambda: F.conv2d(X, W, ones(5)), "conv2d: bias must have shape (6,), got (5,)"),
    (lambda: F.conv2d(X, W, ones(6, 1)), "conv2d: bias must have shape (6,), got (6, 1)"),
    (lambda: F.linear(ones(2, 3), ones(2, 3), ones(1)), "linear: bias must have shape (2,), got (1,)"),
    (
        lambda: F.conv2d_backward(ones(2, 6, 6, 5), X, W),
        "conv2d_backward: grad_output must have shape (2, 6, 6, 6), got (2, 6, 6, 5)",
    ),
    (lambda: F.conv2d_backward(G[0], X, W), "conv2d_backward: grad_output must have shape (2, 6, 6, 6), got (6, 6, 6)"),
    (
        lambda: F.avg_pool2d_backward(ones(1, 1, 3, 2), (1, 1, 4, 4), 2),
        "grad_output must have shape (1, 1, 2, 2), got (1, 1, 3, 2)",
    ),
    (
        lambda: F.avg_pool2d_backward(ones(1, 1, 2, 2), (1, 2, 4, 4), 2),
        "avg_pool2d_backward: input_shape (1, 2, 4, 4) does not fit",
    ),
    (
        lambda: F.max_pool2d_backward(ones(1, 2, 2), np.zeros((1, 2, 1), int), (1, 4, 4)),
        "indices must have shape (1, 2, 2), got (1, 2, 1)",
    ),
    (
        lambda: F.max_pool2d_backward(ones(1, 2, 2), np.zeros((1, 2, 2), int), (4, 4)),
        "input_shape must have 3 sizes, got (4, 4)",
    ),
    (lambda: F.col2im(ones(4, 5), (1, 1, 3, 3), 2), "col2im: cols must have shape (4, 4), got (4, 5)"),
    (lambda: F.relu_backward(ones(3), ones(4)), "relu_backward: grad_output must have shape (4,), got (3,)"),
    (
        lambda: F.softmax_backward(ones(3, 1), ones(3, 2)),
        "softmax_backward: grad_output must have shape (3, 2), got (3, 1)",
    ),
    # transposed convolution, signals, filters
    (lambda: F.conv_transpose2d(X, W), "conv_transpose2d: weight has 6 input channels, x has 4"),
    (lambda: F.conv_transpose2d(X, T, groups=3), "conv_transpose2d: x has 4 channels, which 3 groups do not divide"),
    (
        lambda: F.conv_transpose2d(X, ones(4, 0, 3, 3)),
        "conv_transpose2d: weight must have at least one channel each way, got shape (4, 0, 3, 3)",
    ),
    (
        lambda: F.conv_transpose2d(X, ones(4, 3, 3)),
        "conv_transpose2d: weight must have 4 dimensions (C, OC/groups, KH, KW), got shape (4, 3, 3)",
    ),
    (lambda: F.conv_transpose2d(ones(8, 8), T), "conv_transpose2d: x must have 4 dimensions, or 3 without a batch"),
    (
        lambda: F.conv_transpose2d(X, T, ones(4), groups=2),
        "conv_transpose2d: bias must have shape (12,), got (4,)",
    ),
    (
        lambda: F.conv_transpose2d(X, T, output_padding=1),
        "conv_transpose2d: output_padding must be smaller than the stride or the dilation, got 1 for a height of "
        "stride 1 and dilation 1",
    ),
    (
        lambda: F.conv_transpose2d(X, T, None, 2, "same_upper", 1),
        'conv_transpose2d: output_padding must be 0 with padding="same_upper", got 1',
    ),
    (
        lambda: F.conv_transpose2d(X, T, None, 2, "same"),
        'conv_transpose2d: padding="same" needs stride 1, got stride 2',
    ),
    (
        lambda: F.conv_transpose2d(X, T, padding=5),
        "conv_transpose2d: the result's height must be from 1 to 2147483647, got 0 (x 8, stride 1, kernel 3, "
        "dilation 1, padding 10, output_padding 0)",
    ),
    (lambda: F.conv_transpose2d(X, T, stride=2**31 - 1), "conv_transpose2d: the result's height must be from 1 to"),
    (lambda: F.conv_transpose2d(X, T, output_padding=-1), "conv_transpose2d: output_padding must be from 0 to"),
    (lambda: F.conv_transpose2d(ones(1, 4, 0, 3), T), "conv_transpose2d: x must have at least one pixel, its height"),
    (lambda: F.conv_transpose2d(X, ones(4, 6, 3, 0)), "the kernel must have at least one pixel, its width is 0"),
    (
        lambda: F.conv_transpose2d_backward(G, X, T),
        "conv_transpose2d_backward: grad_output must have shape (2, 6, 10, 10), got (2, 6, 6, 6)",
    ),
    (lambda: F.conv1d(X, W[:, :, 0]), "conv1d: x must have 3 dimensions, or 2 without a batch, got shape (2, 4, 8, 8)"),
    (lambda: F.conv1d(X[0], W), "conv1d: weight must have shape (OC, C/groups, K) without a zero, got (6, 4, 3, 3)"),
    (lambda: F.conv1d(X[:, :, 0], W[:, :2, 0]), "conv1d: weight has 2 input channels per group, x has 4 channels / 1"),
    (lambda: F.conv1d(X[0], W[:, :, 0]), "conv1d: weight has 4 input channels per group, x has 8 channels / 1 groups"),
    (lambda: F.conv1d(X[:, 0], W[:, :, 0], padding=(1, 1, 1)), "conv1d: padding must be one integer or two"),
    (
        lambda: F.conv1d_backward(G[:, :, 0, :5], X[:, :, 0], W[:, :, 0]),
        "conv1d_backward: grad_output must have shape (2, 6, 6), got (2, 6, 5)",
    ),
    (lambda: F.correlate2d(X[0], ones(1, 1)), "correlate2d: x must have 2 dimensions without a zero, got shape"),
    (lambda: F.convolve2d(ones(3, 3), ones(0, 1)), "convolve2d: kernel must have 2 dimensions without a zero, got"),
    (lambda: F.convolve2d(ones(3, 3), ones(1, 4)), "convolve2d: the kernel's width 4 "),
    # normalisation
    (lambda: F.batch_norm2d(X, ones(3), ones(4)), "batch_norm2d: running_mean must have shape (4,), got (3,)"),
    (lambda: F.batch_norm2d(X, ones(4), ones(4, 1)), "batch_norm2d: running_var must have shape (4,), got (4, 1)"),
    (lambda: F.batch_norm2d(X, ones(4), ones(4), ones(3)), "batch_norm2d: weight must have shape (4,), got (3,)"),
    (lambda: F.batch_norm2d(X, ones(4), ones(4), None, ones(3)), "batch_norm2d: bias must have shape (4,), got (3,)"),
    (
        lambda: F.batch_norm2d(ones(1, 4, 1, 1), None, None, training=True),
        "batch_norm2d: training needs more than one value for each channel, x has shape (1, 4, 1, 1)",
    ),
    (lambda: F.batch_norm2d(ones(2, 0, 3, 3), ones(0), ones(0)), "x must have at least one channel and one pixel"),
    (
        lambda: F.batch_norm2d_backward(G, X, ones(4), ones(4)),
        "batch_norm2d_backward: grad_output must have shape (2, 4, 8, 8), got (2, 6, 6, 6)",
    ),
    (lambda: F.local_response_norm(X, 0), "local_response_norm: size must be from 1 to 2147483647, got 0"),
    (lambda: F.local_response_norm(ones(3, 3), 1), "local_response_norm: x must have 4 dimensions, or 3 without"),
    (
        lambda: F.local_response_norm_backward(G, X, 3),
        "local_response_norm_backward: grad_output must have shape (2, 4, 8, 8), got (2, 6, 6, 6)",
    ),
    (
        lambda: F.dropout_backward(ones(3), np.ones(2, bool), 0.5),
        "dropout_backward: mask must have shape (3,), got (2,)",
    ),
    (
        lambda: F.leaky_relu_backward(ones(3), ones(4)),
        "leaky_relu_backward: grad_output must have shape (4,), got (3,)",
    ),
    # pooling
    (
        lambda: F.max_unpool2d(ones(1, 2, 2), np.zeros((1, 2, 1), int), (1, 4, 4)),
        "max_unpool2d: indices must have shape (1, 2, 2), got (1, 2, 1)",
    ),
    (
        lambda: F.max_unpool2d(ones(1, 2, 2), np.zeros((1, 2, 2), int), (2, 4, 4)),
        "max_unpool2d: output_shape (2, 4, 4) does not fit x of (1, 2, 2)",
    ),
    (
        lambda: F.max_unpool2d(ones(1, 2, 2), np.zeros((1, 2, 2), int), (4, 4)),
        "max_unpool2d: output_shape must have 3 sizes, got (4, 4)",
    ),
    (
        lambda: F.max_unpool2d_backward(ones(2, 4, 4), np.zeros((1, 2, 2), int)),
        "max_unpool2d_backward: indices (1, 2, 2) do not fit grad_output of (2, 4, 4)",
    ),
    (
        lambda: F.max_unpool2d_backward(ones(2, 4, 4), np.zeros((1, 2, 2, 2), int)),
        "max_unpool2d_backward: indices (1, 2, 2, 2) do not fit grad_output of (2, 4, 4)",
    ),
    (lambda: F.global_avg_pool2d(ones(4, 4)), "global_avg_pool2d: x must have 4 dimensions, or 3 without a batch"),
    (lambda: F.global_avg_pool2d(ones(1, 4, 0)), "global_avg_pool2d: x must have at least one channel and one pixel"),
    (
        lambda: F.global_avg_pool2d_backward(ones(1, 2, 2), (1, 4, 4)),
        "global_avg_pool2d_backward: grad_output must have shape (1, 1, 1), got (1, 2, 2)",
    ),
    (
        lambda: F.global_avg_pool2d_backward(ones(2, 1, 1), (1, 4, 4)),
        "global_avg_pool2d_backward: input_shape (1, 4, 4) does not fit grad_output of (2, 1, 1)",
    ),
    (lambda: F.max_pool2d(X, 2, padding=2), "max_pool2d: padding must be at most half of the kernel, got 2 and 2"),
    (
        lambda: F.avg_pool2d(X, 3, padding=((1, 2), (0, 0))),
        "avg_pool2d: padding must be at most half of the kernel, got 1 and 2",
    ),
    (
        lambda: F.max_pool2d(ones(1, 1, 2, 2), 2, 1, 1, 3),
        "max_pool2d: dilation 3 leaves a window with nothing but padding",
    ),
]


@pytest.mark.parametrize(("call", "message"), SHAPES, ids=[message for _, message in SHAPES])
def test_shapes_and_sizes(call, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        call()


TYPES = [
    (lambda: F.conv2d(X, W, stride=1.0), "conv2d: stride must be an integer, got 1.0"),
    (lambda: F.conv2d(X, W, stride=1.5), "conv2d: stride must be an integer, got 1.5"),
    (lambda: F.conv2d(X, W, stride="2"), "conv2d: stride must be an integer, got '2'"),
    (lambda: F.conv2d(X, W, stride=True), "conv2d: stride must be an integer, got True"),
    (lambda: F.conv2d(X, W, stride=np.True_), "conv2d: stride must be an integer"),
    (lambda: F.conv2d(X, W, stride=None), "conv2d: stride must be an integer, got None"),
    (lambda: F.conv2d(X, W, padding=0.5), "conv2d: padding must be an integer, got 0.5"),
    (lambda: F.conv2d(X, W, padding=(1, None)), "conv2d: padding must be an integer, got None"),
    (lambda: F.conv2d(X, W, padding=False), "conv2d: padding must be an integer, got False"),
    (lambda: F.conv2d(X, W, dilation=[1, "1"]), "conv2d: dilation must be an integer, got '1'"),
    (lambda: F.conv2d(X, W, groups=1.0), "conv2d: groups must be an integer, got 1.0"),
    (lambda: F.conv2d(X, W, groups=(1, 1)), "conv2d: groups must be an integer"),
    (lambda: F.im2col(X, "2"), "im2col: kernel_size must be an integer, got '2'"),
    (lambda: F.col2im(ones(4, 4), 9, 2), "col2im: input_shape must be a tuple of integers, got 9"),
    (lambda: F.col2im(ones(4, 4), (1, 1, 3, 3.0), 2), "col2im: input_shape must be an integer, got 3.0"),
    (
        lambda: F.conv_transpose2d(X, T, output_padding=0.5),
        "conv_transpose2d: output_padding must be an integer, got 0.5",
    ),
    (lambda: F.conv1d(X[:, :, 0], W[:, :, 0], stride=(1, 1)), "conv1d: stride must be an integer, got (1, 1)"),
    (lambda: F.conv1d(X[:, :, 0], W[:, :, 0], dilation=None), "conv1d: dilation must be an integer, got None"),
    (lambda: F.max_pool2d(X, 2.0), "max_pool2d: kernel_size must be an integer, got 2.0"),
    (lambda: F.max_pool2d(X, None), "max_pool2d: kernel_size must be an integer, got None"),
    (lambda: F.max_pool2d(X, 2, ceil_mode=1), "max_pool2d: ceil_mode must be True or False, got 1"),
    (lambda: F.avg_pool2d(X, 2, count_include_pad=0), "avg_pool2d: count_include_pad must be True or False, got 0"),
    (lambda: F.avg_pool2d(X, 2, divisor_override=1.5), "avg_pool2d: divisor_override must be an integer, got 1.5"),
    (lambda: F.softmax(X, 0.0), "softmax: axis must be an integer, got 0.0"),
    (lambda: F.softmax(X, None), "softmax: axis must be an integer, got None"),
    (lambda: F.max_pool2d_backward(ones(1, 1, 1), ones(1, 1, 1), (1, 2, 2)), "indices must be integers, got float32"),
    (lambda: F.max_unpool2d(ones(1, 1, 1), ones(1, 1, 1), (1, 2, 2)), "indices must be integers, got float32"),
    (
        lambda: F.cross_entropy(ones(1, 2), ones(1)),
        "cross_entropy: target must hold class ids as integers, got float32",
    ),
    (lambda: F.batch_norm2d(X, ones(4), ones(4), training=1), "batch_norm2d: training must be True or False, got 1"),
    (lambda: F.batch_norm2d(X, ones(4), ones(4), eps="1"), "batch_norm2d: eps must be a number, got '1'"),
    (lambda: F.batch_norm2d(X, ones(4), ones(4), momentum=None), "batch_norm2d: momentum must be a number, got None"),
    (
        lambda: F.batch_norm2d(X, np.ones(4, int), ones(4), training=True),
        "batch_norm2d: running_mean, which training updates, must hold floats, got int64",
    ),
    (lambda: F.local_response_norm(X, 3.0), "local_response_norm: size must be an integer, got 3.0"),
    (lambda: F.local_response_norm(X, 3, True), "local_response_norm: alpha must be a number, got True"),
    (lambda: F.dropout(X, "half", 0), "dropout: p must be a number, got 'half'"),
    (lambda: F.dropout(X, 0.5, 1.5), "dropout: rng must be a numpy.random.Generator, an integer seed or None, got 1.5"),
    (lambda: F.dropout_backward(ones(3), ones(3), 0.5), "dropout_backward: mask must hold booleans, got float32"),
    (lambda: F.leaky_relu(X, None), "leaky_relu: negative_slope must be a number, got None"),
    (
        lambda: F.cross_entropy(ones(1, 2), np.array([0]), label_smoothing="0.1"),
        "cross_entropy: label_smoothing must be a number, got '0.1'",
    ),
    (lambda: F.set_num_threads(1.0), "set_num_threads: n must be an integer, got 1.0"),
]


@pytest.mark.parametrize(("call", "message"), TYPES, ids=[message for _, message in TYPES])
def test_types_of_numbers(call, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call()


VALUES = [
    (lambda: F.conv2d(X, W, layout="CHWN"), "conv2d: layout must be one of NCHW, NHWC, got 'CHWN'"),
    (lambda: F.conv2d(X, W, layout=None), "conv2d: layout must be one of"),
    (lambda: F.max_pool2d(X, 2, layout="nchw"), "max_pool2d: layout must be one of"),
    (
        lambda: F.conv2d(X, W, algorithm="fft"),
        "conv2d: algorithm must be one of auto, direct, im2col, winograd, got 'fft'",
    ),
    (lambda: F.im2col(X, 2, order="columns"), "im2col: order must be one of rows, cols, unfold, got 'columns'"),
    (
        lambda: F.correlate2d(ones(3, 3), ones(1, 1), "all"),
        "correlate2d: mode must be one of valid, same, full, got 'all'",
    ),
    (lambda: F.convolve2d(ones(3, 3), ones(1, 1), None), "convolve2d: mode must be one of valid, same, full, got None"),
    (lambda: F.conv_transpose2d(X, T, layout="CHWN"), "conv_transpose2d: layout must be one of NCHW, NHWC, got 'CHWN'"),
    (lambda: F.conv2d_backward(G, X, W, needs=True), "conv2d_backward: needs must be three booleans"),
    (
        lambda: F.linear_backward(np.ones((2, 3)), np.ones((2, 4)), np.ones((3, 4)), needs=(0, 0)),
        "linear_backward: needs must be three booleans (x, weight, bias), got (0, 0)",
    ),
    (
        lambda: F.max_pool2d_backward(ones(1, 1, 1), np.array([[[4]]]), (1, 2, 2)),
        "indices must be from 0 to 3 for a plane of 2 x 2, got 4",
    ),
    (
        lambda: F.max_pool2d_backward(ones(1, 1, 1), np.array([[[-1]]]), (1, 2, 2)),
        "indices must be from 0 to 3 for a plane of 2 x 2, got -1",
    ),
    (
        lambda: F.max_pool2d_backward(ones(1, 1, 1), np.array([[[2**63]]], np.uint64), (1, 2, 2)),
        "indices must be from 0 to 3",
    ),
    (
        lambda: F.max_unpool2d(ones(1, 1, 1), np.array([[[4]]]), (1, 2, 2)),
        "max_unpool2d: indices must be from 0 to 3 for a plane of 2 x 2, got 4",
    ),
    (
        lambda: F.max_unpool2d_backward(ones(1, 2, 2), np.array([[[-1]]])),
        "max_unpool2d_backward: indices must be from 0 to 3 for a plane of 2 x 2, got -1",
    ),
    (
        lambda: F.cross_entropy(ones(1, 2), np.array([2])),
        "cross_entropy: target must hold class ids from 0 to 1, got 2",
    ),
    (
        lambda: F.cross_entropy(ones(1, 2), np.array([-1])),
        "cross_entropy: target must hold class ids from 0 to 1, got -1",
    ),
    (lambda: F.batch_norm2d(X, None, ones(4)), "batch_norm2d: running_mean must be given where training is False"),
    (lambda: F.batch_norm2d(X, ones(4), None), "batch_norm2d: running_var must be given where training is False"),
    (
        lambda: F.batch_norm2d(X, ones(4), read_only(4), training=True),
        "batch_norm2d: running_var, which training updates, must be writeable",
    ),
    (lambda: F.batch_norm2d(X, ones(4), ones(4), eps=-1), "batch_norm2d: eps must be finite, at least 0, got -1"),
    (
        lambda: F.batch_norm2d(X, ones(4), ones(4), momentum=2),
        "batch_norm2d: momentum must be finite, at least 0, at most 1, got 2",
    ),
    (lambda: F.batch_norm2d(X, ones(4), ones(4), layout="CHW"), "batch_norm2d: layout must be one of NCHW, NHWC"),
    (lambda: F.local_response_norm(X, 3, np.nan), "local_response_norm: alpha must be finite, got nan"),
    (lambda: F.dropout(X, 1.5, 0), "dropout: p must be finite, at least 0, at most 1, got 1.5"),
    (lambda: F.dropout(X, 10**400, 0), "dropout: p must be finite, at least 0, at most 1, got 1000"),
    (lambda: F.dropout(X, 0.5, -1), "dropout: rng must be a seed of at least 0, got -1"),
    (lambda: F.leaky_relu(X, np.inf), "leaky_relu: negative_slope must be finite, got inf"),
    (
        lambda: F.cross_entropy(ones(1, 2), np.array([0]), label_smoothing=1.1),
        "cross_entropy: label_smoothing must be finite, at least 0, at most 1, got 1.1",
    ),
    (lambda: F.set_num_threads(0), "set_num_threads: n must be from 1 to"),
    (lambda: F.set_num_threads(10**6), "set_num_threads: n must be from 1 to"),
    (lambda: F.set_num_threads(True), "set_num_threads: n must be from 1 to"),
    (lambda: F.use_backend("torch").__enter__(), "use_backend: name must be one of numba, numpy, got 'torch'"),
]


@pytest.mark.parametrize(("call", "message"), VALUES, ids=[message for _, message in VALUES])
def test_values(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def read_only(*shape):
    a = ones(*shape)
    a.flags.writeable = False
    return a


def misaligned(*shape):
    return np.zeros(ones(*shape).nbytes + 1, np.uint8)[1:].view(np.float32).reshape(shape)


WRONG_OUT = {
    "list": ([1.0], TypeError, "out must be a NumPy array, got list"),
    "shape": (lambda *s: ones(*s[:-1], s[-1] + 1), ValueError, "out must have shape"),
    "float64": (lambda *s: ones(*s, dtype=np.float64), TypeError, "out must have dtype float32, got float64"),
    "integers": (lambda *s: ones(*s, dtype=np.int32), TypeError, "out must have dtype float32, got int32"),
    "big-endian": (lambda *s: ones(*s, dtype=">f4"), TypeError, "out must have dtype float32, got >f4"),
    "read-only": (read_only, ValueError, "out must be writeable, C-contiguous and aligned"),
    "Fortran": (lambda *s: np.asfortranarray(ones(*s)), ValueError, "out must be writeable, C-contiguous and aligned"),
    "strided": (lambda *s: ones(*s[:-1], 2 * s[-1])[..., ::2], ValueError, "out must be writeable, C-contiguous"),
    "broadcast": (lambda *s: np.broadcast_to(np.float32(0), s), ValueError, "out must be writeable"),
    "misaligned": (misaligned, ValueError, "out must be writeable, C-contiguous and aligned"),
}
TAKES_OUT = {
    "conv2d": (lambda out: F.conv2d(X, W, out=out), (2, 6, 6, 6)),
    "conv2d NHWC": (lambda out: F.conv2d(ones(2, 8, 8, 4), ones(6, 3, 3, 4), layout="NHWC", out=out), (2, 6, 6, 6)),
    "conv_transpose2d": (lambda out: F.conv_transpose2d(X, T, out=out), (2, 6, 10, 10)),
    "im2col": (lambda out: F.im2col(X, 3, out=out), (72, 36)),
    "col2im": (lambda out: F.col2im(ones(72, 36), (2, 4, 8, 8), 3, out=out), (2, 4, 8, 8)),
    "max_pool2d": (lambda out: F.max_pool2d(X, 2, out=out), (2, 4, 4, 4)),
    "avg_pool2d": (lambda out: F.avg_pool2d(X, 2, out=out), (2, 4, 4, 4)),
}


@pytest.mark.parametrize("function", TAKES_OUT)
@pytest.mark.parametrize("kind", WRONG_OUT)
def test_wrong_out(function, kind):
    call, shape = TAKES_OUT[function]
    make, error, message = WRONG_OUT[kind]
    with pytest.raises(error, match=f"^{function.split()[0]}: {message}"):
        call(make(*shape) if callable(make) else make)


def test_out_that_overlaps_an_input():
    memory = np.ones(1000, np.float32)
    x, weight, bias = memory[:64].reshape(1, 1, 8, 8), memory[100:109].reshape(1, 1, 3, 3), memory[200:201]
    for start in (63, 28, 108, 73, 200, 165):
        with pytest.raises(ValueError, match="conv2d: out must not share memory with an input"):
            fastconv.conv2d(x, weight, bias, out=memory[start : start + 36].reshape(1, 1, 6, 6))
    for start in (0, 60, 63):
        for call in (fastconv.max_pool2d, fastconv.avg_pool2d):
            with pytest.raises(ValueError, match="out must not share memory with an input"):
                call(x, 2, out=memory[start : start + 16].reshape(1, 1, 4, 4))
    with pytest.raises(ValueError, match="im2col: out must not share memory with an input"):
        fastconv.im2col(x, 1, out=x.reshape(64, 1))
    assert (memory == 1).all()


HUGE = (2**31 - 1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30)


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("name", ["stride", "padding", "dilation", "groups", "kernel_size", "padding one side"])
def test_huge_numbers_are_an_error_or_right(name, size):
    x, w = ones(1, 1, 4, 4), ones(1, 1, 2, 2)
    options = {"padding": ((0, 0), (0, size))} if name == "padding one side" else {name: size}
    fit = {**options, "kernel_size": options.get("kernel_size", 2)}
    calls = {
        "conv2d": lambda where: where.conv2d(x, w, **options),
        "conv2d im2col": lambda where: where.conv2d(x, w, algorithm="im2col", **options),
        "conv_transpose2d": lambda where: where.conv_transpose2d(x, w, **options),
        "im2col": lambda where: where.im2col(x, **fit),
        "max_pool2d": lambda where: where.max_pool2d(x, **fit),
        "avg_pool2d": lambda where: where.avg_pool2d(x, **fit),
    }
    for function, call in calls.items():
        if (name == "kernel_size" and "conv" in function) or (name == "groups" and "conv" not in function):
            continue
        if name == "dilation" and function == "avg_pool2d":
            continue
        try:
            found = call(fastconv)
        except (ValueError, MemoryError) as error:
            assert str(error).startswith(function.split()[0])
        else:
            assert name == "stride"
            np.testing.assert_array_equal(found, call(reference))


@pytest.mark.parametrize("merely_equal", [(1.0, 1), (1, True), (1, np.float64(1)), 1.0, True])
def test_what_only_equals_sizes_is_an_error_after_them(merely_equal):
    """What was decided for sizes before is not found for what is no size."""
    for sizes in ((1, 1), 1):
        assert F.conv2d(X, W, padding=sizes).shape and F.max_pool2d(X, 2, sizes).shape
    for call in (lambda: F.conv2d(X, W, padding=merely_equal), lambda: F.conv2d_backward(G, X, W, merely_equal)):
        with pytest.raises(TypeError, match="must be an integer"):
            call()
    with pytest.raises(TypeError, match="must be an integer"):
        F.max_pool2d(X, 2, merely_equal)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint64])
def test_small_integer_types_do_not_wrap(dtype):
    rng = np.random.default_rng(0)
    x, w = rng.integers(-4, 5, (1, 1, 6, 500)).astype(np.float32), rng.integers(-4, 5, (1, 1, 2, 3)).astype(np.float32)
    big = min(200, np.iinfo(dtype).max)
    plain = {"stride": (1, big), "padding": (1, big), "dilation": (1, big)}
    typed = {name: (dtype(a), dtype(b)) for name, (a, b) in plain.items()}
    expected = reference.conv2d(x, w, **plain)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, **typed), expected)
    np.testing.assert_array_equal(fastconv.conv2d(x, w, algorithm="im2col", **typed), expected)
    g = np.ones_like(expected)
    for a, b in zip(fastconv.conv2d_backward(g, x, w, **typed), reference.conv2d_backward(g, x, w, **plain)):
        np.testing.assert_array_equal(a, b)
    assert fastconv.conv2d(x, w, padding=dtype(big)).shape == (1, 1, 5 + 2 * big, 498 + 2 * big)
    pooled = fastconv.max_pool2d(x, (dtype(2), dtype(big)), padding=(dtype(1), dtype(big // 2)))
    np.testing.assert_array_equal(pooled, reference.max_pool2d(x, (2, big), padding=(1, big // 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32])
def test_empty_batch_is_legal(dtype):
    x, w, g = (np.zeros(s, dtype) for s in ((0, 4, 8, 8), (6, 4, 3, 3), (0, 6, 6, 6)))
    floating = np.result_type(dtype, np.float32) if dtype == np.int32 else dtype
    for algorithm in ("direct", "im2col"):
        y = fastconv.conv2d(x, w, algorithm=algorithm)
        assert y.shape == (0, 6, 6, 6)
        assert y.dtype == floating
    grad_x, grad_weight, grad_bias = fastconv.conv2d_backward(g, x, w)
    assert grad_x.shape == x.shape
    transposed = np.zeros((4, 3, 3, 3), dtype)
    y = fastconv.conv_transpose2d(x, transposed, stride=2)
    assert y.shape == (0, 3, 17, 17)
    assert y.dtype == floating
    grads = fastconv.conv_transpose2d_backward(y, x, transposed, stride=2)
    assert [a.shape for a in grads] == [x.shape, transposed.shape, (3,)]
    assert not grads[1].any()
    assert fastconv.conv1d(x[:, :, 0], w[:, :, 0]).shape == (0, 6, 6)
    assert fastconv.conv1d_backward(g[:, :, 0], x[:, :, 0], w[:, :, 0])[0].shape == (0, 4, 8)
    np.testing.assert_array_equal(grad_weight, np.zeros(w.shape))
    np.testing.assert_array_equal(grad_bias, np.zeros(6))
    for order, shape in {"rows": (0, 36), "cols": (36, 0), "unfold": (0, 36, 36)}.items():
        cols = fastconv.im2col(x, 3, order=order)
        assert cols.shape == shape
        assert fastconv.col2im(cols, x.shape, 3, order=order).shape == x.shape
    y, indices = fastconv.max_pool2d_with_indices(x, 2)
    assert (
        y.shape == indices.shape == fastconv.max_pool2d(x, 2).shape == fastconv.avg_pool2d(x, 2).shape == (0, 4, 4, 4)
    )
    assert fastconv.max_pool2d_backward(y, indices, x.shape).shape == x.shape
    assert fastconv.avg_pool2d_backward(y, x.shape, 2).shape == x.shape
    assert fastconv.max_unpool2d(y, indices, x.shape).shape == x.shape
    assert fastconv.max_unpool2d_backward(x, indices).shape == y.shape
    means = fastconv.global_avg_pool2d(x)
    assert means.shape == (0, 4, 1, 1)
    assert fastconv.global_avg_pool2d_backward(means, x.shape).shape == x.shape
    rows, weight = np.zeros((0, 3), dtype), np.zeros((2, 3), dtype)
    assert fastconv.linear(rows, weight).shape == (0, 2)
    grads = fastconv.linear_backward(np.zeros((0, 2), dtype), rows, weight)
    assert [a.shape for a in grads] == [(0, 3), (2, 3), (2,)]
    assert not grads[1].any()
    for name in ("relu", "leaky_relu", "sigmoid", "tanh", "softmax", "log_softmax"):
        assert getattr(fastconv, name)(rows).shape == (0, 3)
    mean, var = np.zeros(4), np.ones(4)
    for training in (False, True):
        y = fastconv.batch_norm2d(x, mean, var, training=training)
        assert y.shape == x.shape
        assert y.dtype == floating
        grads = fastconv.batch_norm2d_backward(y, x, mean, var, training=training)
        assert [a.shape for a in grads] == [x.shape, (4,), (4,)]
    assert fastconv.local_response_norm(x, 3).shape == x.shape
    assert fastconv.local_response_norm_backward(x, x, 3).shape == x.shape
    assert fastconv.dropout(x, 0.5, 0).shape == x.shape


def fuzz(script, seconds=300):
    """Run a script of `fuzz` in a process that may die; its exit status, the cases it told of, and its errors."""
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent)))}
    with tempfile.TemporaryFile("w+") as told:  # a file, which keeps what was told before a hang or a crash
        try:
            done = subprocess.run(
                [sys.executable, "-W", "error", "-X", "faulthandler", "-c", script],
                cwd=tests.parent, env=environment, stdout=told, stderr=subprocess.PIPE, text=True, timeout=seconds,
            )  # fmt: skip
            status, errors = done.returncode, done.stderr
        except subprocess.TimeoutExpired:
            status, errors = None, f"no end after {seconds} s"
        told.seek(0)
        return status, told.read().splitlines(), errors


@pytest.mark.process
def test_junk_is_an_error_or_right():
    """Anything at all: a ValueError, TypeError or MemoryError, or what the NumPy reference says; never the end."""
    status, cases, errors = fuzz("import fuzz; fuzz.run(fuzz.FUNCTIONS); print('finished')")
    last = cases[-1] if cases else "none"
    assert (status, last) == (0, "finished"), f"exit status {status}; the last case was\n{last}\n{errors}"
    called = Counter(case.partition("(")[0] for case in cases[:-1])
    assert called.keys() == set(fastconv.functional.__all__)
    assert min(called.values()) >= 10


ENDS = {
    "a crash": ("os.abort()", "Fatal Python error: Aborted"),
    "an exit": ("os._exit(0)", ""),
    "a wrong answer": ("np.full(1, on_numpy())", "AssertionError"),
    "an error of another kind": ("[][0]", "IndexError"),
}


@pytest.mark.process
@pytest.mark.parametrize("end", ENDS)
def test_fuzzing_notices(end):
    """The judge judged: a function that ends its process or lies, after one that does not."""
    expression, sign = ENDS[end]
    script = f"""
import os, fuzz, numpy as np
from fastconv._runtime.backend import on_numpy
fuzz.run({{"good": lambda x: np.ones(1), "bad": lambda x: {expression}}})
print("finished")
"""
    status, cases, errors = fuzz(script)
    assert cases[0].startswith("good({'x': ")
    assert cases[-1].startswith("bad({'x': ")
    assert sign in errors
    assert (status == 0) == (end == "an exit")
