"""The input gradient of a convolution as a convolution of the output gradient, for each phase of the stride.

Functions of integers in the part of Python that Numba compiles as well, as in `_axes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._geometry.axes import Axis


class GatheredAxis(NamedTuple):
    """How one axis of the input gradient is a convolution of the output gradient.

    Attributes:
        axis: that convolution, of stride 1; its padding may be negative, which leaves out pixels.
        first: the first cell of the padded input's phases that is computed.
        phases: for each kernel tap, the phase of the input that it reaches: int64.
        positions: for each kernel tap, the tap of the convolution that it becomes: int64.
    """

    axis: Axis
    first: int
    phases: np.ndarray
    positions: np.ndarray


def gathered_axis(axis: Axis) -> GatheredAxis:
    """How the input gradient of a convolution along `axis` is gathered."""
    # input cell i of phase a gets g[i - shift] * w[tap] from each tap with tap * dilation = shift * stride + a
    reach = np.arange(axis.kernel) * axis.dilation
    spacing = max(axis.dilation // axis.stride, 1) if axis.dilation % axis.stride == 0 else 1
    most = (axis.kernel - 1) * axis.dilation // axis.stride
    first = axis.before // axis.stride
    out = (axis.before + axis.size - 1) // axis.stride - first + 1
    before = most - first
    turned = Axis(axis.out, most // spacing + 1, 1, spacing, before, out + most - before - axis.out, out)
    return GatheredAxis(turned, first, reach % axis.stride, (most - reach // axis.stride) // spacing)


def border_products(rows: Axis, columns: Axis) -> float:
    """How many products the input gradient as convolutions takes, phase by phase, for each that is needed.

    Near the borders it multiplies zeros, which counts for an image hardly larger than the kernel.
    """
    down, across = gathered_axis(rows).axis, gathered_axis(columns).axis
    return down.out * across.out / (rows.out * columns.out)


def gathered_products(rows: Axis, columns: Axis) -> float:
    """How many it takes as one convolution of all phases, whose kernel is as large as the largest phase's."""
    down, across = gathered_axis(rows).axis, gathered_axis(columns).axis
    gathered = down.kernel * rows.stride * across.kernel * columns.stride
    return border_products(rows, columns) * gathered / (rows.kernel * columns.kernel)


def backward_terms(outputs: int, taps: int, T: int) -> np.ndarray:
    """Where taps lie among the weights, each output channel's from last to first: (outputs * T,) uint64.

    For `outputs` output channels with weights of `taps` taps, T of them of the same input channel.
    """
    term = np.arange(outputs * T)
    return (term // T * taps + T - 1 - term % T).astype(np.uint64)
