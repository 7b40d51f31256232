"""What fastconv and its peers compute: operations on named shapes, with the same arrays in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import random
from benchmarks.shapes import CONV, LINEAR, POOL, TRANSPOSE, ConvShape, LinearShape, PoolShape


class Operation(NamedTuple):
    """One thing to measure; `title` heads its table."""

    title: str
    shapes: dict[str, Any]


OPERATIONS = {
    "conv": Operation("convolution", CONV),
    "conv-input-gradient": Operation("convolution, gradient of the input", CONV),
    "conv-weight-gradient": Operation("convolution, gradient of the weights", CONV),
    "conv-transpose": Operation("transposed convolution", TRANSPOSE),
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
    """The float32 arrays of one operation on one shape; pooling has no weights."""

    shape: Any
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    grad: np.ndarray


def problem(operation: str, name: str) -> Problem:
    """The arrays of a named shape."""
    shape = OPERATIONS[operation].shapes[name]
    x, weight, bias, grad = _shapes(shape, transposed=operation == "conv-transpose")
    return Problem(shape, *(random(size, "float32", seed) for seed, size in enumerate((x, weight, bias, grad))))


def _shapes(shape: ConvShape | PoolShape | LinearShape, transposed: bool) -> tuple[tuple[int, ...], ...]:
    if isinstance(shape, LinearShape):
        return (shape.N, shape.IN), (shape.OUT, shape.IN), (shape.OUT,), (shape.N, shape.OUT)
    if isinstance(shape, PoolShape):
        return shape.input_shape, (0,), (0,), shape.output_shape
    if transposed:
        return shape.output_shape, shape.weight_shape, (shape.C,), shape.input_shape
    return shape.input_shape, shape.weight_shape, (shape.OC,), shape.output_shape
