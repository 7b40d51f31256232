"""What fastconv and its peers compute: operations on named shapes, with the same arrays in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import random
from benchmarks.shapes import CONV, LINEAR, NHWC, OTHERS, POOL, TRANSPOSE, ConvShape, LinearShape, PoolShape


class Operation(NamedTuple):
    """One thing to measure; `title` heads its table."""

    title: str
    shapes: dict[str, Any]


OPERATIONS = {
    "conv": Operation("convolution", CONV),
    "conv-input-gradient": Operation("convolution, gradient of the input", CONV),
    "conv-weight-gradient": Operation("convolution, gradient of the weights", CONV),
    "conv-nhwc": Operation("convolution, channels last", NHWC),
    "conv-nhwc-input-gradient": Operation("convolution, channels last, gradient of the input", NHWC),
    "conv-nhwc-weight-gradient": Operation("convolution, channels last, gradient of the weights", NHWC),
    "conv-transpose": Operation("transposed convolution", TRANSPOSE),
    "conv-transpose-input-gradient": Operation("transposed convolution, gradient of the input", TRANSPOSE),
    "conv-transpose-weight-gradient": Operation("transposed convolution, gradient of the weights", TRANSPOSE),
    "other-conv": Operation("other convolutions", OTHERS),
    "other-conv-input-gradient": Operation("other convolutions, gradient of the input", OTHERS),
    "other-conv-weight-gradient": Operation("other convolutions, gradient of the weights", OTHERS),
    "max-pool": Operation("max-pooling with indices", POOL),
    "max-pool-gradient": Operation("max-pooling, gradient", POOL),
    "avg-pool": Operation("average pooling", POOL),
    "avg-pool-gradient": Operation("average pooling, gradient", POOL),
    "linear": Operation("linear layer", LINEAR),
    "linear-input-gradient": Operation("linear layer, gradient of the input", LINEAR),
    "linear-weight-gradient": Operation("linear layer, gradient of the weights", LINEAR),
}


@dataclass(frozen=True)
class Problem:
    """The float32 arrays of one operation on one shape; pooling has no weights.

    Attributes:
        shape: the shape, of which a transposed convolution is the way back.
        x: what the operation is applied to.
        weight: (OC, C/groups, K, K) of a convolution, or (OC, K, K, C/groups) with channels last.
        bias: one number for each channel of the result.
        grad: the gradient of the result.
        layout: of x, grad and, with channels last, weight.
    """

    shape: Any
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    grad: np.ndarray
    layout: str = "NCHW"


def problem(operation: str, name: str) -> Problem:
    """The arrays of a named shape."""
    shape = OPERATIONS[operation].shapes[name]
    sizes = _shapes(shape, transposed=operation.startswith("conv-transpose"))
    x, weight, bias, grad = (random(size, "float32", seed) for seed, size in enumerate(sizes))
    if not operation.startswith("conv-nhwc"):
        return Problem(shape, x, weight, bias, grad)
    x, weight, grad = (np.ascontiguousarray(np.moveaxis(array, 1, 3)) for array in (x, weight, grad))
    return Problem(shape, x, weight, bias, grad, "NHWC")


def _shapes(shape: ConvShape | PoolShape | LinearShape, transposed: bool) -> tuple[tuple[int, ...], ...]:
    if isinstance(shape, LinearShape):
        return (shape.N, shape.IN), (shape.OUT, shape.IN), (shape.OUT,), (shape.N, shape.OUT)
    if isinstance(shape, PoolShape):
        return shape.input_shape, (0,), (0,), shape.output_shape
    if transposed:
        return shape.output_shape, shape.weight_shape, (shape.C,), shape.input_shape
    return shape.input_shape, shape.weight_shape, (shape.OC,), shape.output_shape
