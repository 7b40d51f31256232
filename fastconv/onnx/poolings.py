"""ONNX's poolings, of which some have windows that `fastconv`'s own do not take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import Pads
from fastconv._geometry.axes import Axis
from fastconv.errors import ShapeError
from fastconv.onnx.model import Gradients, Operator, Outputs
from fastconv.onnx.node import Node
from fastconv.onnx.windows import Windows, shaped_as, windows, without_axis, without_overhang

MOST_WINDOWS = 2**27  # along an axis, where they are counted one by one


def max_pool(node: Node) -> Operator:
    """MaxPool: the largest of each window, and its index, flat over the whole tensor."""
    found, by_columns = windows(node), node.take("storage_order", 0) == 1
    kernel = found.kernel or (1, 1)

    def with_indices(x: np.ndarray) -> tuple[Outputs, np.ndarray, np.ndarray]:
        images = found.with_two_axes("MaxPool", x)
        pads = found.pads_for(images.shape[2:], kernel)
        if _fits(found, pads):
            y, cells = F.max_pool2d_with_indices(images, kernel, found.strides, pads, found.dilations, found.ceil_mode)
        else:
            y, cells = _max_of_padded(found, images, kernel)
        return (without_axis(y, x),), cells, images

    def infer(x: np.ndarray) -> Outputs:
        images = found.with_two_axes("MaxPool", x)
        pads = found.pads_for(images.shape[2:], kernel)
        if not _fits(found, pads):
            return with_indices(x)[0]
        return (without_axis(F.max_pool2d(images, kernel, found.strides, pads, found.dilations, found.ceil_mode), x),)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        outputs, cells, images = with_indices(x)
        shape = images.shape

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            return (shaped_as(F.max_pool2d_backward(grad.reshape(cells.shape), cells, shape), x),)

        if not any(node.outputs[1:]):
            return outputs, gradient
        N, C, H, W = shape
        flat = cells % W * H + cells // W if by_columns else cells
        flat = flat + (np.arange(N * C) * (H * W)).reshape(N, C, 1, 1)
        return (*outputs, without_axis(flat, x)), gradient

    return Operator(forward, None if any(node.outputs[1:]) else infer)


def _fits(windows: Windows, pads: Pads) -> bool:
    """Whether fastconv's pooling takes the padding: at most half of the kernel, and no window has nothing else."""
    kernel = windows.kernel or (1, 1)
    small = all(max(sides) <= k // 2 for sides, k in zip(pads, kernel))
    return small and (windows.dilations == (1, 1) or pads == ((0, 0), (0, 0)))


def _max_of_padded(windows: Windows, images: np.ndarray, kernel: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The pooling of a copy with its padding, and the indices as of the original."""
    ends = without_overhang(*_axes("MaxPool", windows, images.shape[2:], kernel, empty=False))
    lowest = -np.inf if images.dtype.kind == "f" else np.iinfo(images.dtype).min
    padded = np.pad(images, ((0, 0), (0, 0), *ends), constant_values=lowest)
    y, cells = F.max_pool2d_with_indices(padded, kernel, windows.strides, 0, windows.dilations)
    (top, _), (left, _) = ends
    H, W = images.shape[2:]
    rows, columns = np.divmod(cells, padded.shape[3])
    rows, columns = rows - top, columns - left
    # in a window of nothing but the lowest value the first cell may be one of the padding
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    if not inside.all():
        # the first tap on a pixel of a window whose first tap is in the padding
        rows, columns = (
            np.where(~inside & (first < 0), first % step, first)
            for first, step in zip((rows, columns), windows.dilations)
        )
    return y, rows * W + columns


def _axes(
    where: str, windows: Windows, size: Sequence[int], kernel: tuple[int, int], empty: bool
) -> tuple[Axis, Axis]:  # fmt: skip
    """How any windows lie on an image of `size`; windows of padding alone are an error unless `empty`."""
    rows, columns = windows.axes_for(where, size, kernel)
    for axis in (rows, columns):
        if axis.out > MOST_WINDOWS:
            raise ShapeError(f"{where}: {axis.out} windows along an axis of {axis.size} are too many")
        if not (empty or _tap_counts(axis, 0, axis.size).all()):
            raise ShapeError(f"{where}: a window has nothing but padding")
    return rows, columns


def _tap_counts(axis: Axis, low: int, high: int) -> np.ndarray:
    """How many taps of each window lie from `low` to below `high`: (out,)."""
    starts = np.arange(axis.out) * axis.stride - axis.before
    first = np.maximum(-((starts - low) // axis.dilation), 0)
    last = np.minimum((high - 1 - starts) // axis.dilation, axis.kernel - 1)
    return np.maximum(last - first + 1, 0)


def average_pool(node: Node) -> Operator:
    """AveragePool: the mean of each window, over its pixels or, with count_include_pad, its cells."""
    found, count_include_pad = windows(node), node.take("count_include_pad", 0) == 1
    kernel = found.kernel or (1, 1)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        images = found.with_two_axes("AveragePool", x)
        pads = found.pads_for(images.shape[2:], kernel)
        if found.dilations != (1, 1) or not _fits(found, pads):
            y, back = _average_by_conv(found, images, kernel, count_include_pad)
            return (without_axis(y, x),), lambda grad, needs: (shaped_as(back(grad), x),)
        options = (kernel, found.strides, pads, found.ceil_mode, count_include_pad)
        y, shape = F.avg_pool2d(images, *options), images.shape

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            return (shaped_as(F.avg_pool2d_backward(grad.reshape(y.shape), shape, *options), x),)

        return (without_axis(y, x),), gradient

    return Operator(forward)


def _average_by_conv(
    windows: Windows, images: np.ndarray, kernel: tuple[int, int], count_include_pad: bool
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray | None]]:
    """The means of any windows, and the way back: a convolution of single planes with a kernel of ones."""
    axes = _axes("AveragePool", windows, images.shape[2:], kernel, empty=count_include_pad)
    planes, ones = images.reshape(-1, 1, *images.shape[2:]), np.ones((1, 1, *kernel), images.dtype)
    options = (windows.strides, without_overhang(*axes), windows.dilations)
    sums = F.conv2d(planes, ones, None, *options)
    # by how much each window's sum is divided
    rows, columns = (
        _tap_counts(axis, *((-axis.before, axis.size + axis.after) if count_include_pad else (0, axis.size)))
        for axis in axes
    )
    cells = np.outer(rows, columns).astype(images.dtype)

    def back(grad: np.ndarray) -> np.ndarray | None:
        shares = grad.reshape(sums.shape) / cells
        return F.conv2d_backward(shares, planes, ones, *options, needs=(True, False, False))[0]

    return (sums / cells).reshape(*images.shape[:2], *cells.shape), back
