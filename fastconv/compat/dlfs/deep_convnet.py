"""The network of chapter 8."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.sizes import integer, sizes
from fastconv.compat.dlfs.common.layers import Affine, Convolution, Dropout, Pooling, Relu
from fastconv.compat.dlfs.network import ConvParam, Network, checked_param, pooled_size


def _param(filter_num: int, pad: int = 1) -> ConvParam:
    return MappingProxyType({"filter_num": filter_num, "filter_size": 3, "pad": pad, "stride": 1})


_PARAM_16, _PARAM_32, _PARAM_32_WIDE, _PARAM_64 = _param(16), _param(32), _param(32, pad=2), _param(64)


class DeepConvNet(Network):
    """Three times convolution, ReLU, convolution, ReLU and 2x2 max-pooling; affine, ReLU, dropout, affine, dropout.

    Weights are drawn with the variance 2 / (number of a layer's inputs), which the book writes down for its own sizes.

    Args:
        input_dim: (C, H, W).
        conv_param_1: `filter_num`, `filter_size`, `pad` and `stride` of the first convolution.
        conv_param_2: of the second.
        conv_param_3: of the third.
        conv_param_4: of the fourth, which has a padding of 2.
        conv_param_5: of the fifth.
        conv_param_6: of the sixth.
        hidden_size: the size of the first affine layer.
        output_size: the number of classes.
        dtype: of the parameters; float32 is twice as fast.

    Attributes:
        params: W1, b1 to W8, b8.
        layers: all 20, as a list.

    Raises:
        ValueError: a size is out of range.
        TypeError: a size is not an integer.

    Example:
        >>> network = DeepConvNet()
        >>> network.predict(np.zeros((2, 1, 28, 28))).shape, network.params["W7"].shape
        ((2, 10), (1024, 50))
    """

    def __init__(
        self, input_dim: tuple[int, int, int] = (1, 28, 28), conv_param_1: ConvParam = _PARAM_16,
        conv_param_2: ConvParam = _PARAM_16, conv_param_3: ConvParam = _PARAM_32,
        conv_param_4: ConvParam = _PARAM_32_WIDE, conv_param_5: ConvParam = _PARAM_64,
        conv_param_6: ConvParam = _PARAM_64, hidden_size: int = 50, output_size: int = 10, *,
        dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        where = "DeepConvNet"
        C, H, W = sizes(where, "input_dim", input_dim, (3,))
        given = (conv_param_1, conv_param_2, conv_param_3, conv_param_4, conv_param_5, conv_param_6)
        hidden, classes = integer(where, "hidden_size", hidden_size, 1), integer(where, "output_size", output_size, 1)
        self.params, self._dtype = {}, dtype
        layers: list[Any] = []
        for n, param in enumerate(given, 1):
            count, size, pad, stride = checked_param(where, f"conv_param_{n}", param)
            layers += [Convolution(*self._drawn(n, (count, C, size, size)), stride, pad), Relu()]
            H, W = pooled_size(where, (C, H, W), size, stride, pad, pool=n % 2 == 0)
            C = count
            if n % 2 == 0:
                layers.append(Pooling(2, 2, stride=2))
        layers += [Affine(*self._drawn(7, (C * H * W, hidden))), Relu(), Dropout(0.5)]
        layers += [Affine(*self._drawn(8, (hidden, classes))), Dropout(0.5)]
        self._built(layers, layers)

    def _drawn(self, n: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        affine = len(shape) == 2  # whose transpose is what the product takes as it lies
        inputs = shape[0] if affine else math.prod(shape[1:])
        drawn = math.sqrt(2.0 / inputs) * np.random.randn(*shape)  # noqa: NPY002
        self.params[f"W{n}"] = drawn.astype(self._dtype, order="F" if affine else "C")
        self.params[f"b{n}"] = np.zeros(shape[1] if affine else shape[0], self._dtype)
        return self.params[f"W{n}"], self.params[f"b{n}"]
