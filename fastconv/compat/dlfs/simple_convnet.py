"""The network of chapter 7."""

from __future__ import annotations

import math
from collections import OrderedDict
from types import MappingProxyType

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer, sizes
from fastconv.compat.dlfs.common.layers import Affine, Convolution, Pooling, Relu
from fastconv.compat.dlfs.network import ConvParam, Network, checked_param, pooled_size

CONV_PARAM: ConvParam = MappingProxyType({"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1})
# the variance of the weights times the number of a layer's inputs, which is all that the book's Xavier looks at
GAINS = {"relu": 2.0, "he": 2.0, "sigmoid": 1.0, "xavier": 1.0}


class SimpleConvNet(Network):
    """Convolution, ReLU, 2x2 max-pooling, affine, ReLU, affine, softmax.

    Args:
        input_dim: (C, H, W).
        conv_param: `filter_num`, `filter_size`, `pad` and `stride` of the convolution.
        hidden_size: the size of the first affine layer.
        output_size: the number of classes.
        weight_init_std: the deviation of the weights; or `"relu"` or `"he"`, `"sigmoid"` or `"xavier"`: chosen from
            the number of each layer's inputs.
        dtype: of the parameters; float32 is twice as fast.

    Attributes:
        params: W1, b1, W2, b2, W3, b3: the convolution's, (F, C, FH, FW), and the affine layers', (IN, OUT).
        layers: Conv1, Relu1, Pool1, Affine1, Relu2, Affine2.

    Raises:
        ValueError: a size is out of range, or there is no such initialisation.
        TypeError: a size is not an integer.

    Example:
        >>> network = SimpleConvNet()
        >>> {name: array.shape for name, array in network.params.items() if name[0] == "W"}
        {'W1': (30, 1, 5, 5), 'W2': (4320, 100), 'W3': (100, 10)}
    """

    def __init__(
        self, input_dim: tuple[int, int, int] = (1, 28, 28), conv_param: ConvParam = CONV_PARAM,
        hidden_size: int = 100, output_size: int = 10, weight_init_std: float | str = 0.01, *,
        dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        where = "SimpleConvNet"
        C, H, W = sizes(where, "input_dim", input_dim, (3,))
        count, size, pad, stride = checked_param(where, "conv_param", conv_param)
        pooled = pooled_size(where, (C, H, W), size, stride, pad, pool=True)
        hidden, classes = integer(where, "hidden_size", hidden_size, 1), integer(where, "output_size", output_size, 1)
        self.params = {}
        for n, shape in enumerate(((count, C, size, size), (count * math.prod(pooled), hidden), (hidden, classes)), 1):
            drawn = _deviation(weight_init_std, shape) * np.random.randn(*shape)  # noqa: NPY002
            affine = len(shape) == 2  # whose transpose is what the product takes as it lies
            self.params[f"W{n}"] = drawn.astype(dtype, order="F" if affine else "C")
            self.params[f"b{n}"] = np.zeros(shape[1] if affine else count, dtype)
        p = self.params
        layers = OrderedDict(
            Conv1=Convolution(p["W1"], p["b1"], stride, pad), Relu1=Relu(), Pool1=Pooling(2, 2, stride=2),
            Affine1=Affine(p["W2"], p["b2"]), Relu2=Relu(), Affine2=Affine(p["W3"], p["b3"]),
        )  # fmt: skip
        self._built(layers, list(layers.values()))


def _deviation(weight_init_std: float | str, shape: tuple[int, ...]) -> float:
    if not isinstance(weight_init_std, str):
        return number("SimpleConvNet", "weight_init_std", weight_init_std, 0)
    if weight_init_std.lower() not in GAINS:
        raise ValueError(f"SimpleConvNet: weight_init_std must be one of {', '.join(GAINS)}, got {weight_init_std!r}")
    inputs = math.prod(shape[1:]) if len(shape) == 4 else shape[0]
    return math.sqrt(GAINS[weight_init_std.lower()] / inputs)
