"""What follows from the shapes, dtypes and options of a convolution alone: decided once for all calls like it.

One look-up is faster than deciding, all the more where the kernel of the call before has emptied the caches.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments import arrays, hints
from fastconv._arguments.sizes import layout_argument
from fastconv._geometry.conv import ConvGeometry, conv_geometry
from fastconv._plan import declines_last
from fastconv._runtime.backend import on_numpy
from fastconv.errors import ShapeError


class Call(NamedTuple):
    """A convolution's sizes and types.

    Attributes:
        geometry: its geometry.
        dtype: the result's dtype.
        compute: the dtype that it is computed in.
        unbatched: whether x lacks the batch axis.
        shape: the result's shape, as the caller has it.
        order: the layout that it is computed in.
        ordered: its shape in that layout, with a batch.
        straight: whether that is what the caller has, but perhaps for the batch.
    """

    geometry: ConvGeometry
    dtype: np.dtype
    compute: np.dtype
    unbatched: bool
    shape: tuple[int, ...]
    order: str
    ordered: tuple[int, int, int, int]
    straight: bool


def call_of(
    where: str, x: Any, weight: Any, third: Any, name: str, stride: Any, padding: Any, dilation: Any, groups: Any,
    layout: Any, algorithm: str = "auto",
) -> Call:  # fmt: skip
    """The call of a convolution of these arguments, or of its gradients, all checked but for that gradient's shape.

    `third` is the argument `name`: the bias, which may be None, or the gradient of the result.
    """
    layout_argument(where, layout)
    kinds: tuple[np.dtype, ...] = arrays.numeric(where, "x", x).dtype, arrays.numeric(where, "weight", weight).dtype
    if third is not None or name != "bias":
        kinds += (arrays.numeric(where, name, third).dtype,)
    bias = None if third is None or name != "bias" else third.shape
    # nothing that is merely equal to an integer may find what was decided for one
    plain = type(stride) is type(padding) is type(dilation) is type(groups) is int
    decide = _decided if plain else _decided.__wrapped__
    direct, shapes = algorithm != "im2col", (x.shape, weight.shape, bias)
    return decide(where, *shapes, kinds, stride, padding, dilation, groups, layout, direct, on_numpy())


@functools.lru_cache(maxsize=1024)
def _decided(
    where: str, x: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...] | None, kinds: tuple[np.dtype, ...],
    stride: Any, padding: Any, dilation: Any, groups: Any, layout: str, direct: bool, numpy: bool,
) -> Call:  # fmt: skip
    check_ranks(where, x, weight)
    if bias is not None and bias != weight[:1]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, weight[:1], bias)
    dtype = arrays.promoted(kinds)
    compute = arrays.compute_dtype(dtype)
    unbatched = len(x) == 3
    N, C, H, W = arrays.shape_from((1, *x) if unbatched else x, layout)
    kernels = arrays.shape_from(weight, layout)
    try:
        geometry = conv_geometry(where, (C, H, W), kernels, stride, padding, dilation, groups)
    except ShapeError as error:
        error.args = (f"{error}{hints.of_convolution(x, weight, groups, layout)}",)
        raise
    shape = N, geometry.OC, geometry.rows.out, geometry.columns.out
    order = "NHWC" if layout == "NHWC" and direct and not numpy and not declines_last(geometry) else "NCHW"
    straight = layout == order and compute == dtype
    final = arrays.shape_as(shape, layout)[int(unbatched) :]
    return Call(geometry, dtype, compute, unbatched, final, order, arrays.shape_as(shape, order), straight)


def check_ranks(where: str, x: tuple[int, ...], weight: tuple[int, ...], axes: str = "OC, C/groups, KH, KW") -> None:
    """Raise a ShapeError unless these are the shapes of images and of a bank of kernels, whose axes are those."""
    if len(x) not in (3, 4):
        raise ShapeError(f"{where}: x must have 4 dimensions, or 3 without a batch, got shape {x}")
    if len(weight) != 4:
        raise ShapeError(f"{where}: weight must have 4 dimensions ({axes}), got shape {weight}")
