"""ONNX's operators that move elements: Flatten, Reshape, Concat, Pad."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv._arguments import arrays
from fastconv.errors import ShapeError
from fastconv.onnx.model import Gradients, Operator, Outputs
from fastconv.onnx.node import Node

PAD_MODES = ("constant", "reflect", "edge", "wrap")  # NumPy's words too


def flatten(node: Node) -> Operator:
    """Flatten: the axes before `axis` become one, the others another."""
    axis = node.take("axis", 1)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        if not -x.ndim <= axis <= x.ndim:
            raise ShapeError(f"Flatten: axis {axis} is not one of {x.ndim}")
        shape, split = x.shape, axis + x.ndim if axis < 0 else axis
        return (x.reshape(math.prod(shape[:split]), math.prod(shape[split:])),), lambda grad, needs: (
            grad.reshape(shape),
        )

    return Operator(forward)


def reshape(node: Node) -> Operator:
    """Reshape: 0 keeps an axis unless `allowzero`, -1 takes what is left."""
    allow_zero = node.take("allowzero", 0) == 1

    def forward(x: np.ndarray, wanted: np.ndarray) -> tuple[Outputs, Gradients]:
        shape = x.shape
        y = x.reshape(_reshaped(shape, [int(n) for n in wanted], allow_zero))
        return (y,), lambda grad, needs: (grad.reshape(shape), None)

    return Operator(forward)


def _reshaped(shape: tuple[int, ...], wanted: list[int], allow_zero: bool) -> list[int]:
    kept = {i for i, n in enumerate(wanted) if n == 0 and not allow_zero}
    if max(kept, default=0) >= max(len(shape), 1) or wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ShapeError(f"Reshape: shape {wanted} does not fit x of shape {shape}")
    found = [shape[i] if i in kept else n for i, n in enumerate(wanted)]
    if -1 in found:
        # axes that are kept cancel out, so that an empty batch leaves the others as they are
        elements = math.prod(n for i, n in enumerate(shape) if i not in kept)
        others = math.prod(n for i, n in enumerate(found) if i not in kept and n != -1)
        found[found.index(-1)] = elements // others if others else 0
    if math.prod(found) != math.prod(shape):
        raise ShapeError(f"Reshape: shape {wanted} does not fit x of shape {shape}")
    return found


def concat(node: Node) -> Operator:
    """Concat: arrays one after another along an axis."""
    axis = node.take("axis", 0)

    def forward(*arrays: np.ndarray) -> tuple[Outputs, Gradients]:
        try:
            y = np.concatenate(arrays, axis)
        except ValueError:
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise ShapeError(f"Concat: shapes {shapes} do not fit along axis {axis}") from None
        ends = np.cumsum([a.shape[axis] for a in arrays])[:-1]
        return (y,), lambda grad, needs: np.split(grad, ends, axis)

    return Operator(forward)


def pad(node: Node) -> Operator:
    """Pad: cells around x, as many as `pads` says for each axis; negative numbers cut cells off."""
    mode: Any = node.take("mode", "constant")
    if mode not in PAD_MODES:
        node.refuse(f"attribute mode = {mode!r}")
    fixed = (node.take_integers("pads"), node.take("value", 0.0)) if node.opset < 11 else None

    def forward(
        x: np.ndarray, pads: np.ndarray | None = None, value: np.ndarray | None = None, axes: np.ndarray | None = None
    ) -> tuple[Outputs, Gradients]:
        amounts, fill = (fixed[0], fixed[1]) if fixed else (pads, value)
        widths = _widths(x, [int(n) for n in amounts], axes)  # type: ignore[union-attr]
        # what is cut off goes first, so that the other modes see what is left
        inner = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape))
        more = [(max(a, 0), max(b, 0)) for a, b in widths]
        kept = x[inner]
        if min(kept.shape, default=1) < 1 and x.size:
            raise ShapeError(f"Pad: pads {widths} leave nothing of x of shape {x.shape}")
        y = arrays.empty("Pad", [a + n + b for (a, b), n in zip(more, kept.shape)], x.dtype)
        middle = tuple(slice(a, a + n) for (a, _), n in zip(more, kept.shape))
        if mode == "constant":
            y.fill(0 if fill is None else np.asarray(fill).item())
            y[middle] = kept
        else:
            y[...] = np.pad(kept, more, mode)

        def gradient(grad: np.ndarray, needs: Sequence[bool]) -> Sequence[np.ndarray | None]:
            grad_x = np.zeros(x.shape, grad.dtype)
            if mode == "constant":
                grad_x[inner] = grad[middle]
            else:
                cells = np.pad(np.arange(kept.size).reshape(kept.shape), more, mode)
                shares = np.bincount(cells.ravel(), grad.ravel(), kept.size)
                grad_x[inner] = shares.reshape(kept.shape)
            return (grad_x,)

        return (y,), gradient

    return Operator(forward)


def _widths(x: np.ndarray, pads: list[int], axes: np.ndarray | None) -> list[tuple[int, int]]:
    chosen = list(range(x.ndim)) if axes is None else [int(a) for a in axes]
    if len(pads) != 2 * len(chosen) or any(not -x.ndim <= a < x.ndim for a in chosen):
        raise ShapeError(f"Pad: pads {pads} for axes {chosen} do not fit x of shape {x.shape}")
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(chosen):
        widths[axis] = (pads[i], pads[len(chosen) + i])
    return widths
