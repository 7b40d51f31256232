"""ONNX's convolutions and poolings: windows over one or two axes.

Everything is computed with two axes; where a file has one, a second of size 1 is put in front of it for the while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import Pads
from fastconv.errors import ShapeError
from fastconv.onnx.model import Gradients, Operator, Outputs
from fastconv.onnx.node import Node

MOST_WINDOWS = 2**27  # along an axis, where they are counted one by one
AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Windows:
    """The attributes that convolutions and poolings share, for two axes.

    Attributes:
        axes: how many axes the attributes are for, None where they do not tell.
        kernel: of a window, None where the weights tell.
        strides: between windows.
        dilations: between taps.
        pads: before and after each axis.
        auto_pad: one of AUTO_PADS; if not NOTSET it is used instead of `pads`.
        ceil_mode: whether windows may overhang the end.
    """

    axes: int | None
    kernel: tuple[int, int] | None
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: Pads
    auto_pad: str
    ceil_mode: bool

    def spread(self, where: str, x: np.ndarray) -> np.ndarray:
        """Give x (N, C, L) as (N, C, 1, L), x (N, C, H, W) as it is."""
        if x.ndim not in (3, 4) or (self.axes is not None and x.ndim != self.axes + 2):
            wanted = f"{self.axes + 2} dimensions" if self.axes else "3 or 4 dimensions"
            raise ShapeError(f"{where}: x must have {wanted}, got shape {x.shape}")
        return x if x.ndim == 4 else x[:, :, None]

    def placed(self, size: Sequence[int], kernel: Sequence[int]) -> tuple[Pads, bool]:
        """The padding for an image of `size`, and whether windows may overhang, which a named one does not say."""
        if self.auto_pad == "NOTSET":
            return self.pads, self.ceil_mode
        found = []
        for n, k, stride, dilation in zip(size, kernel, self.strides, self.dilations):
            span = dilation * (k - 1) + 1
            total = 0 if self.auto_pad == "VALID" else max((-(-n // stride) - 1) * stride + span - n, 0)
            less, more = total // 2, total - total // 2
            found.append((more, less) if self.auto_pad == "SAME_LOWER" else (less, more))
        return (found[0], found[1]), False

    def counts(self, size: Sequence[int], kernel: Sequence[int], pads: Pads, ceil_mode: bool) -> list[int]:
        """How many windows there are along each axis; none starts in the padding at the end."""
        found = []
        for n, k, stride, dilation, (before, after) in zip(size, kernel, self.strides, self.dilations, pads):
            room = before + n + after - dilation * (k - 1) - 1
            out = (-(-room // stride) if ceil_mode else room // stride) + 1
            if ceil_mode and (out - 1) * stride >= n + before:
                out -= 1
            found.append(out)
        return found


def _two(values: list[int] | None, default: int) -> tuple[int, int]:
    values = values or []
    return (default, default) if not values else (default, values[0]) if len(values) == 1 else (values[0], values[1])


def windows(node: Node, weight: np.ndarray | None = None) -> Windows:
    """A node's attributes; `weight` tells the axes where they do not."""
    lists = {name: node.take_integers(name) for name in ("kernel_shape", "strides", "dilations")}
    pads, auto_pad = node.take_integers("pads"), node.take("auto_pad", "NOTSET")
    ceil_mode = node.take("ceil_mode", 0)
    counts = {float(len(values)) for values in lists.values() if values is not None}
    counts |= set() if pads is None else {len(pads) / 2}
    counts |= set() if weight is None else {weight.ndim - 2}
    axes = min(counts, default=None)
    if len(counts) > 1 or axes not in (None, 1, 2):
        node.refuse(f"windows over {' and '.join(f'{count:g}' for count in sorted(counts))} axes")
        axes, lists, pads = None, dict.fromkeys(lists), None
    for name, values in (*lists.items(), ("pads", pads)):
        if values is not None and min(values) < (0 if name == "pads" else 1):
            node.refuse(f"attribute {name} = {values}")
    if auto_pad not in AUTO_PADS:
        node.refuse(f"attribute auto_pad = {auto_pad!r}")
    if pads is None:
        sides: Pads = ((0, 0), (0, 0))
    else:
        sides = ((0, 0), (pads[0], pads[1])) if axes == 1 else ((pads[0], pads[2]), (pads[1], pads[3]))
    kernel = _two(lists["kernel_shape"], 1) if lists["kernel_shape"] else None
    strides, dilations = _two(lists["strides"], 1), _two(lists["dilations"], 1)
    return Windows(
        None if axes is None else int(axes), kernel, strides, dilations, sides, auto_pad, ceil_mode == 1
    )  # fmt: skip


def _kernel(where: str, windows: Windows, weight: np.ndarray) -> tuple[int, int]:
    kernel = (weight.shape[2], weight.shape[3])
    if windows.kernel not in (None, kernel):
        raise ShapeError(f"{where}: kernel_shape is {windows.kernel}, the weights have {kernel}")
    return kernel


def conv(node: Node) -> Operator:
    """Conv: y = b + the sum of w * x over each window."""
    found, groups = windows(node, node.constant(1)), node.take("group", 1)

    def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> tuple[Outputs, Gradients]:
        images, weight = found.spread("Conv", x), found.spread("Conv", w)
        pads, _ = found.placed(images.shape[2:], _kernel("Conv", found, weight))
        options = (found.strides, pads, found.dilations, groups)
        y = F.conv2d(images, weight, b, *options)

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            wanted = (needs[0], needs[1], b is not None and needs[2])
            grads = F.conv2d_backward(grad.reshape(y.shape), images, weight, *options, needs=wanted)
            return _as(grads[0], x), _as(grads[1], w), grads[2]

        return (_without(y, x),), gradient

    return Operator(forward)


def conv_transpose(node: Node) -> Operator:
    """ConvTranspose: each pixel of x adds w times its value to y; output_shape stands for the padding that gives it."""
    found, groups = windows(node, node.constant(1)), node.take("group", 1)
    extra, wanted = node.take_integers("output_padding"), node.take_integers("output_shape")

    def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> tuple[Outputs, Gradients]:
        images, weight = found.spread("ConvTranspose", x), found.spread("ConvTranspose", w)
        kernel = _kernel("ConvTranspose", found, weight)
        pads, more = _transposed_pads(found, images.shape[2:], kernel, _two(extra, 0), _outputs(wanted, x.ndim - 2))
        options = (found.strides, pads, more, groups, found.dilations)
        y = F.conv_transpose2d(images, weight, b, *options)

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            wanted = (needs[0], needs[1], b is not None and needs[2])
            grads = F.conv_transpose2d_backward(grad.reshape(y.shape), images, weight, *options, needs=wanted)
            return _as(grads[0], x), _as(grads[1], w), grads[2]

        return (_without(y, x),), gradient

    return Operator(forward)


def _outputs(wanted: list[int] | None, axes: int) -> tuple[int, int] | None:
    """output_shape for two axes; it may hold the batch and the channels as well."""
    return None if wanted is None else _two(wanted[-axes:], 1)


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


def max_pool(node: Node) -> Operator:
    """MaxPool: the largest of each window, and its index, flat over the whole tensor."""
    found, by_columns = windows(node), node.take("storage_order", 0) == 1
    kernel = found.kernel or (1, 1)

    def with_indices(x: np.ndarray) -> tuple[Outputs, np.ndarray, np.ndarray]:
        images = found.spread("MaxPool", x)
        pads, ceil_mode = found.placed(images.shape[2:], kernel)
        if _fits(found, pads):
            y, cells = F.max_pool2d_with_indices(images, kernel, found.strides, pads, found.dilations, ceil_mode)
        else:
            y, cells = _max_of_padded(found, images, kernel, pads, ceil_mode)
        return (_without(y, x),), cells, images

    def infer(x: np.ndarray) -> Outputs:
        images = found.spread("MaxPool", x)
        pads, ceil_mode = found.placed(images.shape[2:], kernel)
        if not _fits(found, pads):
            return with_indices(x)[0]
        return (_without(F.max_pool2d(images, kernel, found.strides, pads, found.dilations, ceil_mode), x),)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        outputs, cells, images = with_indices(x)
        shape = images.shape

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            return (_as(F.max_pool2d_backward(grad.reshape(cells.shape), cells, shape), x),)

        if not any(node.outputs[1:]):
            return outputs, gradient
        N, C, H, W = shape
        flat = cells % W * H + cells // W if by_columns else cells
        flat = flat + (np.arange(N * C) * (H * W)).reshape(N, C, 1, 1)
        return (*outputs, _without(flat, x)), gradient

    return Operator(forward, None if any(node.outputs[1:]) else infer)


def _fits(windows: Windows, pads: Pads) -> bool:
    """Whether fastconv's pooling takes the padding: at most half of the kernel, and no window has nothing else."""
    kernel = windows.kernel or (1, 1)
    small = all(max(sides) <= k // 2 for sides, k in zip(pads, kernel))
    return small and (windows.dilations == (1, 1) or pads == ((0, 0), (0, 0)))


def _max_of_padded(
    windows: Windows, images: np.ndarray, kernel: tuple[int, int], pads: Pads, ceil_mode: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The pooling of a copy with its padding, and the indices as of the original."""
    ends = _ends("MaxPool", windows, images.shape[2:], kernel, pads, ceil_mode, empty=False)
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


def _ends(
    where: str, windows: Windows, size: Sequence[int], kernel: Sequence[int], pads: Pads, ceil_mode: bool, empty: bool
) -> Pads:
    """The padding with which no window overhangs; windows of padding alone are an error unless `empty`."""
    outs = windows.counts(size, kernel, pads, ceil_mode)
    found = []
    for n, k, stride, dilation, (before, _), out in zip(size, kernel, windows.strides, windows.dilations, pads, outs):
        reach = dilation * (k - 1)
        if out < 1:
            raise ShapeError(f"{where}: the window's size {reach + 1} is larger than the padded input")
        if out > MOST_WINDOWS:
            raise ShapeError(f"{where}: {out} windows along an axis of {n} are too many")
        if not (empty or _taps(k, stride, dilation, before, out, 0, n).all()):
            raise ShapeError(f"{where}: a window has nothing but padding")
        found.append((before, max((out - 1) * stride - before + reach + 1 - n, 0)))
    return found[0], found[1]


def _taps(k: int, stride: int, dilation: int, before: int, out: int, low: int, high: int) -> np.ndarray:
    """How many taps of each window lie from `low` to below `high`: (out,)."""
    starts = np.arange(out) * stride - before
    first = np.maximum(-((starts - low) // dilation), 0)
    last = np.minimum((high - 1 - starts) // dilation, k - 1)
    return np.maximum(last - first + 1, 0)


def average_pool(node: Node) -> Operator:
    """AveragePool: the mean of each window, over its pixels or, with count_include_pad, its cells."""
    found, count_include_pad = windows(node), node.take("count_include_pad", 0) == 1
    kernel = found.kernel or (1, 1)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        images = found.spread("AveragePool", x)
        pads, ceil_mode = found.placed(images.shape[2:], kernel)
        if found.dilations != (1, 1) or not _fits(found, pads):
            y, back = _average_by_conv(found, images, kernel, pads, ceil_mode, count_include_pad)
            return (_without(y, x),), lambda grad, needs: (_as(back(grad), x),)
        options = (kernel, found.strides, pads, ceil_mode, count_include_pad)
        y, shape = F.avg_pool2d(images, *options), images.shape

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            return (_as(F.avg_pool2d_backward(grad.reshape(y.shape), shape, *options), x),)

        return (_without(y, x),), gradient

    return Operator(forward)


def _average_by_conv(
    windows: Windows, images: np.ndarray, kernel: tuple[int, int], pads: Pads, ceil_mode: bool, count_include_pad: bool
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray | None]]:
    """The means of any windows, and the way back: a convolution of single planes with a kernel of ones."""
    size = images.shape[2:]
    ends = _ends("AveragePool", windows, size, kernel, pads, ceil_mode, empty=count_include_pad)
    planes, ones = images.reshape(-1, 1, *size), np.ones((1, 1, *kernel), images.dtype)
    options = (windows.strides, ends, windows.dilations)
    sums = F.conv2d(planes, ones, None, *options)
    cells = _cells(windows, size, kernel, pads, sums.shape[2:], count_include_pad).astype(images.dtype)

    def back(grad: np.ndarray) -> np.ndarray | None:
        shares = grad.reshape(sums.shape) / cells
        return F.conv2d_backward(shares, planes, ones, *options, needs=(True, False, False))[0]

    return (sums / cells).reshape(*images.shape[:2], *cells.shape), back


def _cells(
    windows: Windows, size: Sequence[int], kernel: Sequence[int], pads: Pads, outs: Sequence[int],
    count_include_pad: bool,
) -> np.ndarray:  # fmt: skip
    """By how much each window's sum is divided: (OH, OW)."""
    rows, columns = (
        _taps(k, stride, dilation, before, out, *((-before, n + after) if count_include_pad else (0, n)))
        for n, k, stride, dilation, (before, after), out in zip(
            size, kernel, windows.strides, windows.dilations, pads, outs
        )
    )
    return np.outer(rows, columns)


def _without(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Take from y the axis that `spread` gave it, for an x that had one axis."""
    return y if x.ndim == 4 else y.reshape(*y.shape[:2], y.shape[3])


def _as(grad: np.ndarray | None, array: np.ndarray) -> np.ndarray | None:
    return None if grad is None else grad.reshape(array.shape)
