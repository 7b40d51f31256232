"""The input gradient of a convolution as a convolution of the output gradient, for each phase of the stride.

Functions of integers in the part of Python that Numba compiles as well, as in `_axes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv._geometry.axes import Axis
from fastconv._geometry.conv import Conv, reduction_length
from fastconv._runtime.jit import jitable, planned


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


@planned
def gathered_axis(axis: Axis) -> GatheredAxis:
    """How the input gradient of a convolution along `axis` is gathered."""
    # input cell i of phase a gets g[i - shift] * w[tap] from each tap with tap * dilation = shift * stride + a
    spacing = max(axis.dilation // axis.stride, 1) if axis.dilation % axis.stride == 0 else 1
    most = (axis.kernel - 1) * axis.dilation // axis.stride
    first = axis.before // axis.stride
    out = (axis.before + axis.size - 1) // axis.stride - first + 1
    before = most - first
    gathered = Axis(axis.out, most // spacing + 1, 1, spacing, before, out + most - before - axis.out, out)
    phases, positions = np.empty(axis.kernel, np.int64), np.empty(axis.kernel, np.int64)
    for tap in range(axis.kernel):
        shift, phases[tap] = divmod(tap * axis.dilation, axis.stride)
        positions[tap] = (most - shift) // spacing
    return GatheredAxis(gathered, first, phases, positions)


@planned
def gathered_conv(conv: Conv) -> Conv:
    """The convolution, of stride 1, that takes the output gradient to all stride phases of the input gradient."""
    rows, columns = gathered_axis(conv.rows).axis, gathered_axis(conv.columns).axis
    return Conv(conv.OC, conv.C * (conv.rows.stride * conv.columns.stride), conv.groups, rows, columns)


@jitable
def border_products(conv: Conv) -> float:
    """How many products the input gradient as convolutions takes, phase by phase, for each that is needed.

    Near the borders it multiplies zeros, which counts for an image hardly larger than the kernel.
    """
    down, across = gathered_axis(conv.rows).axis, gathered_axis(conv.columns).axis
    return down.out * across.out / (conv.rows.out * conv.columns.out)


@jitable
def gathered_products(conv: Conv) -> float:
    """How many it takes as one convolution of all phases, whose kernel is as large as the largest phase's."""
    rows, columns = conv.rows, conv.columns
    down, across = gathered_axis(rows).axis, gathered_axis(columns).axis
    gathered = down.kernel * rows.stride * across.kernel * columns.stride
    return border_products(conv) * gathered / (rows.kernel * columns.kernel)


@planned
def backward_terms(outputs: int, K: int, taps: int) -> np.ndarray:
    """Where taps lie among the weights, each output channel's from last to first: (outputs * taps,) uint64.

    For `outputs` output channels with K weights each, `taps` of them of the same input channel.
    """
    terms = np.empty(outputs * taps, np.uint64)
    for term in range(outputs * taps):
        terms[term] = term // taps * K + taps - 1 - term % taps
    return terms


@planned
def phase_terms(conv: Conv, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the taps that reach one stride phase lie among a channel's weights, and as terms of `gathered_conv`.

    Both are uint64. From last to first, as in the one convolution of all phases: sums of few terms have the same bits.
    """
    rows, columns, per_group = gathered_axis(conv.rows), gathered_axis(conv.columns), conv.OC // conv.groups
    KH, KW, K = conv.rows.kernel, conv.columns.kernel, reduction_length(conv)
    terms, gathered = np.empty(per_group * KH * KW, np.uint64), np.empty(per_group * KH * KW, np.uint64)
    count = 0
    for oc in range(per_group):
        for ky in range(KH - 1, -1, -1):
            if rows.phases[ky] == a:
                line = (oc * rows.axis.kernel + rows.positions[ky]) * columns.axis.kernel
                for kx in range(KW - 1, -1, -1):
                    if columns.phases[kx] == b:
                        terms[count] = oc * K + ky * KW + kx
                        gathered[count] = line + columns.positions[kx]
                        count += 1
    return terms[:count].copy(), gathered[:count].copy()
