"""The gradients of a convolution's weights and bias."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.arrays import ready
from fastconv._engine import pieces, turned
from fastconv._engine.planes import planes_of, runs_of
from fastconv._geometry.conv import ConvGeometry
from fastconv._plan import declines_by_group, declines_turned
from fastconv.kernels import conv_gradients as gradients


def weight_gradient(
    where: str, g: np.ndarray, x: np.ndarray, shape: tuple[int, ...], geometry: ConvGeometry
) -> np.ndarray:
    """The gradient of the weights, of their shape."""
    if todo := pieces.pieces(geometry, len(g)):
        total = np.zeros(shape, g.dtype)
        for piece in todo:
            part_g, part_x = ready(g[pieces.at(piece.outputs)], g.dtype), ready(x[pieces.at(piece.inputs)], x.dtype)
            total += weight_gradient(where, part_g, part_x, shape, piece.geometry)
        return total
    if declines_turned(geometry):
        return _dotted(where, g, x, geometry).reshape(shape)
    return turned.weight_gradient(where, g, x, geometry.by_pixel).reshape(shape)


def _dotted(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Dot products along the pixels, for few output channels."""
    grad = np.empty((geometry.OC, geometry.taps), g.dtype)
    if not declines_by_group(geometry, g.itemsize):
        gradients.split_and_weight_gradient(
            g, x, geometry.rows.before, geometry.rows.stride, geometry.shifts, geometry.columns.stride, geometry.HP,
            geometry.WP, geometry.offsets, geometry.groups, grad,
        )  # fmt: skip
        return grad
    planes = planes_of(where, x, geometry)
    for by_rows in (False, True):
        runs, flat = runs_of(where, g, geometry, by_rows)
        gradients.weight_gradient(flat, planes, geometry.offsets, geometry.groups, *runs, grad)
        if flat.size == g.size or np.isfinite(grad).all():
            break  # else an infinite pixel may have met the zeros between two rows of pixels: sum again row by row
    return grad


def bias_gradient(g: np.ndarray) -> np.ndarray:
    """The gradient of the bias: the sum of each channel of g."""
    grad = np.empty(g.shape[1], g.dtype)
    gradients.bias_gradient(g.reshape(*g.shape[:2], g.shape[2] * g.shape[3]), grad)
    return grad
