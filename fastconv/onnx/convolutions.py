"""ONNX's convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import Pads
from fastconv.errors import ShapeError
from fastconv.onnx.model import Gradients, Operator, Outputs
from fastconv.onnx.node import Node
from fastconv.onnx.windows import Windows, shaped_as, two, windows, without_axis


def conv(node: Node) -> Operator:
    """Conv: y = b + the sum of w * x over each window."""
    found, groups = windows(node, node.constant(1)), node.take("group", 1)

    def options(axes: int, size: Sequence[int], kernel: Sequence[int]) -> tuple[Any, ...]:
        return found.strides, found.pads_for(size, kernel), found.dilations, groups

    return _convolution("Conv", found, F.conv2d, F.conv2d_backward, options)


def conv_transpose(node: Node) -> Operator:
    """ConvTranspose: each pixel of x adds w times its value to y; output_shape stands for the padding that gives it."""
    found, groups = windows(node, node.constant(1)), node.take("group", 1)
    extra, shape = two(node.take_integers("output_padding"), 0), node.take_integers("output_shape")

    def options(axes: int, size: Sequence[int], kernel: Sequence[int]) -> tuple[Any, ...]:
        # output_shape may hold the batch and the channels as well
        wanted = None if shape is None else two(shape[-axes:], 1)
        pads, more = _transposed_pads(found, size, kernel, extra, wanted)
        return found.strides, pads, more, groups, found.dilations

    return _convolution("ConvTranspose", found, F.conv_transpose2d, F.conv_transpose2d_backward, options)


def _convolution(
    where: str, windows: Windows, function: Callable[..., np.ndarray], backward: Callable[..., Any],
    options_for: Callable[[int, Sequence[int], Sequence[int]], tuple[Any, ...]],
) -> Operator:  # fmt: skip
    """The operator of a function; `options_for` gives its options from the number of axes, image size and kernel."""

    def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> tuple[Outputs, Gradients]:
        images, weight = windows.with_two_axes(where, x), windows.with_two_axes(where, w)
        kernel = (weight.shape[2], weight.shape[3])
        if windows.kernel not in (None, kernel):
            raise ShapeError(f"{where}: kernel_shape is {windows.kernel}, the weights have {kernel}")
        options = options_for(x.ndim - 2, images.shape[2:], kernel)
        y = function(images, weight, b, *options)

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            wanted = (needs[0], needs[1], b is not None and needs[2])
            grads = backward(grad.reshape(y.shape), images, weight, *options, needs=wanted)
            return shaped_as(grads[0], x), shaped_as(grads[1], w), grads[2]

        return (without_axis(y, x),), gradient

    return Operator(forward)


def _transposed_pads(
    windows: Windows, size: Sequence[int], kernel: Sequence[int], extra: tuple[int, int],
    wanted: tuple[int, int] | None,
) -> tuple[Pads, tuple[int, int]]:  # fmt: skip
    """The padding and output_padding that give the size that was asked for."""
    if wanted is None and windows.auto_pad in ("NOTSET", "VALID"):
        return windows.pads if windows.auto_pad == "NOTSET" else ((0, 0), (0, 0)), extra
    found, more = [], []
    for i, (n, k, stride, dilation) in enumerate(zip(size, kernel, windows.strides, windows.dilations)):
        natural = stride * (n - 1) + extra[i] + dilation * (k - 1) + 1
        total = natural - (n * stride if wanted is None else wanted[i])
        less, rest = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        found.append((less, rest) if windows.auto_pad == "SAME_UPPER" else (rest, less))
        more.append(extra[i] + max(-total, 0))
    return (found[0], found[1]), (more[0], more[1])
