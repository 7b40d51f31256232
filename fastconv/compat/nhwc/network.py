"""The network's way forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fastconv import functional as F
from fastconv._arguments import arrays
from fastconv.compat.nhwc.columns import flatten, img2col_conv, places
from fastconv.compat.nhwc.functions import relu, softmax

Cash: TypeAlias = dict[str, Any]


class ConvCash(dict):
    """What a convolution keeps; its matrices, as large as the images times the kernel, are made when they are read.

    `c_a_p` are the windows (N*OH*OW, C*KH*KW), `c_w` the filters (C*KH*KW, F), `c_z_p` their product (N*OH*OW, F).
    """

    def __missing__(self, key: str) -> np.ndarray:
        if key not in ("c_a_p", "c_w", "c_z_p"):
            raise KeyError(key)
        self["c_a_p"], self["c_w"], self["c_z_p"], _ = img2col_conv(self["a_p"], self["w"], 1)
        return self[key]


class PoolCash(dict):
    """What a pooling keeps; `index`, the places in the windows (N*OH*OW, C), is made when it is read.

    Attributes:
        cells: the places in the images, (N, C, OH, OW).
    """

    cells: np.ndarray

    def __missing__(self, key: str) -> np.ndarray:
        if key != "index":
            raise KeyError(key)
        self["index"] = places(arrays.channels_as(self.cells, "NHWC"), self["z_p"].shape[2], self["w"], 2)
        return self["index"]


def forward(X: np.ndarray, Paramters: Sequence[np.ndarray]) -> tuple[list[Cash], np.ndarray]:
    """Twice convolution, ReLU and 2x2 max-pooling, then two dense layers, ReLU between them, and softmax.

    Args:
        X: (N, H, W, C).
        Paramters: the filters (F, KH, KW, C) of both convolutions and the weights (IN, OUT) of both dense layers.

    Returns:
        What each of the six layers keeps, and the probabilities (N, OUT).

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array.

    Example:
        >>> weights = [np.zeros(shape) for shape in ((5, 3, 3, 1), (4, 3, 3, 5), (100, 50), (50, 10))]
        >>> cashes, probabilities = forward(np.zeros((300, 28, 28, 1)), weights)
        >>> [cash["a"].shape[1:] for cash in cashes]
        [(26, 26, 5), (13, 13, 5), (11, 11, 4), (5, 5, 4), (50,), (10,)]
    """
    filter1, filter2, w3, w4 = Paramters
    conv1, pool1 = _convolved_and_pooled(X, X, filter1)
    conv2, pool2 = _convolved_and_pooled(pool1["z"], pool1["a"], filter2)
    flat = flatten(pool2["a"])
    hidden = F.linear(flat, w3.T)
    cash3 = {"z_p": flat, "a_p": flat, "z": hidden, "a": relu(hidden), "w": w3.copy()}
    logits = F.linear(cash3["a"], w4.T)
    cash4 = {"z_p": hidden, "a_p": cash3["a"], "z": logits, "a": softmax(logits), "w": w4.copy()}
    return [conv1, pool1, conv2, pool2, cash3, cash4], cash4["a"]


def _convolved_and_pooled(z_p: np.ndarray, a_p: np.ndarray, filter: np.ndarray) -> tuple[Cash, Cash]:
    # with the channels first, so that nothing is moved: few channels leave vectors along them half empty
    z = F.conv2d(arrays.channels_first(a_p, "NHWC"), arrays.channels_first(filter, "NHWC"))
    a = F.relu(z)
    largest, cells = F.max_pool2d_with_indices(a, (2, 2), 2)
    z, a, largest = (arrays.channels_as(planes, "NHWC") for planes in (z, a, largest))
    conv = ConvCash(z_p=z_p, a_p=a_p, z=z, a=a, w=filter.copy())
    pool = PoolCash(z_p=z, a_p=a, z=largest, a=largest, w=(2, 2), os=largest.shape)
    pool.cells = cells
    return conv, pool
