"""The attributes that ONNX's convolutions and poolings share: windows over one or two axes.

Everything is computed with two axes; where a file has one, the operators put a second of size 1 in front of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastconv._arguments.sizes import NUMBERS, SAME_LOWER, SAME_UPPER, VALID, Pads
from fastconv._geometry.axes import Axis, axis, named_pads
from fastconv.errors import ShapeError
from fastconv.onnx.node import Node

AUTO_PADS = {"NOTSET": NUMBERS, "VALID": VALID, "SAME_UPPER": SAME_UPPER, "SAME_LOWER": SAME_LOWER}


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

    def with_two_axes(self, where: str, x: np.ndarray) -> np.ndarray:
        """Give x (N, C, L) as (N, C, 1, L), x (N, C, H, W) as it is."""
        if x.ndim not in (3, 4) or (self.axes is not None and x.ndim != self.axes + 2):
            wanted = f"{self.axes + 2} dimensions" if self.axes else "3 or 4 dimensions"
            raise ShapeError(f"{where}: x must have {wanted}, got shape {x.shape}")
        return x if x.ndim == 4 else x[:, :, None]

    def pads_for(self, size: Sequence[int], kernel: Sequence[int]) -> Pads:
        """The padding of an image of `size`: before and after each axis."""
        if self.auto_pad == "NOTSET":
            return self.pads
        rows, columns = (
            named_pads("auto_pad", AUTO_PADS[self.auto_pad], n, dilation * (k - 1) + 1, stride)
            for n, k, stride, dilation in zip(size, kernel, self.strides, self.dilations)
        )
        return rows, columns

    def axes_for(self, where: str, size: Sequence[int], kernel: Sequence[int]) -> tuple[Axis, Axis]:
        """How the windows lie on an image of `size`."""
        rows, columns = (
            axis(where, label, n, k, stride, dilation, NUMBERS, pads, self.ceil_mode)
            for label, n, k, stride, dilation, pads in zip(
                ("height", "width"), size, kernel, self.strides, self.dilations, self.pads_for(size, kernel)
            )
        )
        return rows, columns


def without_overhang(rows: Axis, columns: Axis) -> Pads:
    """The padding up to the end of the last windows, so that none of them overhangs, as those of ceil_mode may."""
    top, left = (
        (found.before, max((found.out - 1) * found.stride - found.before + span - found.size, 0))
        for found, span in ((found, found.dilation * (found.kernel - 1) + 1) for found in (rows, columns))
    )
    return top, left


def two(values: list[int] | None, default: int) -> tuple[int, int]:
    """An attribute of one or two axes, or of none that are written down, for two axes."""
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
    kernel = two(lists["kernel_shape"], 1) if lists["kernel_shape"] else None
    strides, dilations = two(lists["strides"], 1), two(lists["dilations"], 1)
    ceil_mode = ceil_mode == 1 and auto_pad == "NOTSET"
    return Windows(None if axes is None else int(axes), kernel, strides, dilations, sides, auto_pad, ceil_mode)


def without_axis(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Take from y the axis that `with_two_axes` gave it, for an x that had one axis."""
    return y if x.ndim == 4 else y.reshape(*y.shape[:2], y.shape[3])


def shaped_as(grad: np.ndarray | None, array: np.ndarray) -> np.ndarray | None:
    """A gradient in the shape of what it is of, if there is one."""
    return None if grad is None else grad.reshape(array.shape)
