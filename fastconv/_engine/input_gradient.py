"""The gradient of a convolution's input: a convolution of the output gradient, or scattered tap by tap."""

from __future__ import annotations

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.arrays import ready
from fastconv._engine import forward, pieces
from fastconv._engine.planes import planes_of, runs_of
from fastconv._geometry.conv import ConvGeometry
from fastconv._plan import declines_gathered, declines_phased
from fastconv.kernels import conv as kernels
from fastconv.kernels import conv_gradients as gradients
from fastconv.kernels import packing as moves


def input_gradient(
    where: str, g: np.ndarray, weight: np.ndarray, geometry: ConvGeometry, grad: np.ndarray,
    bias: np.ndarray | None = None,
) -> None:  # fmt: skip
    """The gradient of x, written to grad; with `bias` (C,) added to its channels, it is a transposed convolution."""
    if todo := pieces.pieces(geometry, len(g)):
        grad[...] = 0 if bias is None else bias[:, None, None]
        for piece in todo:
            target = grad[pieces.at(piece.inputs)]
            part = np.empty(target.shape, g.dtype)
            input_gradient(where, ready(g[pieces.at(piece.outputs)], g.dtype), weight, piece.geometry, part)
            target += part
        return
    # the convolution multiplies by zeros around and between the pixels, and zero times infinity would be NaN
    finite = moves.all_finite.sized(weight.size)(weight.reshape(-1))
    start = np.zeros(geometry.C, g.dtype) if bias is None else bias
    way = _gathered if not declines_gathered(geometry) else _phased if not declines_phased(geometry) else None
    if not (finite and way and way(where, g, weight, start, geometry, grad)):
        _scattered(where, g, weight, start, finite, geometry, grad)


def _gathered(
    where: str, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, geometry: ConvGeometry, grad: np.ndarray
) -> bool:
    """The gradient of x as a convolution of g, to all phases of the stride; whether it can be relied on."""
    N, C = grad.shape[:2]
    transposed, groups, phases = geometry.transposed, geometry.groups, geometry.phases
    conv, rows, columns = transposed.conv, transposed.rows, transposed.columns
    start, lowest = np.repeat(bias, phases), g.dtype.type(-np.inf)
    if phases == 1:
        strides = len(geometry.windows), -1, geometry.taps
        weights = forward.Weights(weight, transposed.weight_rows, transposed.weight_terms, strides)
        forward.convolve(where, g, weights, start, lowest, conv, grad)
        return True
    steps = geometry.rows.stride, geometry.columns.stride
    per_group, kernel = geometry.OC // groups, (conv.rows.kernel, conv.columns.kernel)
    turned = arrays.empty(where, (groups, C // groups, *steps, per_group, *kernel), g.dtype, "the turned weights")
    grouped = weight.reshape(groups, per_group, *weight.shape[1:])
    moves.turn(grouped, rows.phases, rows.positions, columns.phases, columns.positions, turned)
    planes = arrays.empty(where, (N, C * phases, conv.rows.out, conv.columns.out), g.dtype, "the gradient's phases")
    weights = forward.Weights(turned, conv.weight_rows, conv.weight_terms, (conv.taps, 1, len(conv.windows)))
    forward.convolve(where, g, weights, start, lowest, conv, planes)
    cells = conv.rows.out * conv.columns.out
    return _merged(planes, phases * cells, cells, geometry, grad)


def _phased(
    where: str, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, geometry: ConvGeometry, grad: np.ndarray
) -> bool:
    """The gradient of x as a convolution of g to each phase of the stride; whether it can be relied on."""
    N, C = grad.shape[:2]
    conv, lowest = geometry.transposed.conv, g.dtype.type(-np.inf)
    shape = (geometry.phases, N, C, conv.rows.out, conv.columns.out)
    planes, parts = (
        planes_of(where, g, conv).reshape(-1),
        arrays.empty(where, shape, g.dtype, "the gradient's phases"),
    )
    for part, (terms, offsets) in zip(parts, geometry.transposed_phases):
        kernels.forward(
            planes, weight.reshape(-1), geometry.channel_rows, terms, bias, lowest, offsets, geometry.groups,
            conv.C * conv.plane, conv.WP, conv.by_rows, part,
        )  # fmt: skip
    return _merged(parts, conv.rows.out * conv.columns.out, parts[0].size, geometry, grad)


def _merged(planes: np.ndarray, plane: int, phase: int, geometry: ConvGeometry, grad: np.ndarray) -> bool:
    """Take the gradient of x from what was computed of its phases, so far apart; whether it is finite."""
    N, C, H, W = grad.shape
    rows, columns = geometry.transposed.rows, geometry.transposed.columns
    return not moves.merge(
        planes.reshape(-1), plane, phase, geometry.rows.stride, geometry.columns.stride, columns.axis.out,
        geometry.rows.before, geometry.columns.before, rows.first, columns.first, grad.reshape(N * C, H, W),
    )  # fmt: skip


def _scattered(
    where: str, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, finite: bool, geometry: ConvGeometry,
    grad: np.ndarray,
) -> None:  # fmt: skip
    """The gradient of x tap by tap, from rows of pixels of g, added to padded planes."""
    N, C, H, W = grad.shape
    geometry = geometry.plain
    rows, columns, groups = geometry.rows, geometry.columns, geometry.groups
    planes_shape = (N * C, rows.stride, columns.stride, geometry.HP, geometry.WP)
    planes = grad if geometry.in_place else arrays.empty(where, planes_shape, g.dtype, "the padded gradient")
    runs, flat = runs_of(where, g, geometry, by_rows=not finite)
    gradients.input_gradient(
        flat, weight.reshape(-1), geometry.channel_rows, geometry.weight_rows[: geometry.OC // groups], bias,
        geometry.windows, groups, *runs, planes.reshape(N, C, geometry.plane),
    )  # fmt: skip
    if not geometry.in_place:
        cells = geometry.HP * geometry.WP
        moves.merge(
            planes.reshape(-1), geometry.plane, cells, rows.stride, columns.stride, geometry.WP, rows.before,
            columns.before, 0, 0, grad.reshape(N * C, H, W),
        )  # fmt: skip
