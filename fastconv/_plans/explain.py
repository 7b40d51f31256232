"""What computes a convolution and its gradients, and why, as a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv._arguments.names import one_of
from fastconv._arguments.sizes import layout_argument
from fastconv._geometry.conv import conv_geometry
from fastconv._plans.forward import plan_forward
from fastconv._plans.input_gradient import plan_input_gradient
from fastconv._plans.text import title
from fastconv._plans.weight_gradient import plan_weight_gradient
from fastconv._runtime.host import ENABLED, HOST
from fastconv._runtime.switches import winograd

DTYPES = ("float32", "float64")


def explain(
    N: int, image: Sequence[int], weight: Sequence[int], stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int | None = None, dtype: str = "float32", layout: str = "NCHW",
) -> str:  # fmt: skip
    """What computes a convolution of N images (C, H, W) with `weight` (OC, C/groups, KH, KW), and its gradients.

    Args:
        N: how many images.
        image: (C, H, W), whatever the layout.
        weight: (OC, C/groups, KH, KW), whatever the layout.
        stride: as for `conv2d`.
        padding: as for `conv2d`.
        dilation: as for `conv2d`.
        groups: as for `conv2d`; None are those that follow from the channels.
        dtype: `"float32"` or `"float64"`.
        layout: `"NCHW"` or `"NHWC"`.

    Raises:
        ShapeError: the sizes do not fit.

    Example:
        >>> print(explain(4, (96, 28, 28), (96, 96, 5, 5), 1, 2).splitlines()[1])
        forward          PACKED: vectors along output channels, with packed weights
    """
    last = layout_argument("explain", layout) == "NHWC"
    itemsize = np.dtype(one_of("explain", "dtype", dtype, DTYPES)).itemsize
    if groups is None:
        groups = max(image[0] // max(weight[1], 1), 1)
    conv = conv_geometry("explain", image, weight, stride, padding, dilation, groups)
    tile = f"{HOST.tile_rows} x {HOST.tile_vectors * HOST.vector_bytes // itemsize}" if ENABLED else "none, plain loops"
    sizes = conv, N, itemsize, last, HOST
    plans = (plan(*sizes, winograd()) for plan in (plan_forward, plan_input_gradient, plan_weight_gradient))
    return "\n".join([title(conv, N, last, dtype, tile), *map(str, plans)])
