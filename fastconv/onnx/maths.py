"""ONNX's operators that compute element by element, row by row or channel by channel, and Gemm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fastconv import functional as F
from fastconv.errors import ShapeError
from fastconv.onnx.model import Gradients, Operator, Outputs
from fastconv.onnx.node import Node

Needs = Sequence[bool]


def by_result(
    function: Callable[[np.ndarray], np.ndarray], gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Callable[[Node], Operator]:
    """An operator without attributes whose gradient is a function of its result."""

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        y = function(x)
        return (y,), lambda grad, needs: (gradient(grad, y),)

    return lambda node: Operator(forward)


def identity(node: Node) -> Operator:
    """Identity."""
    return Operator(lambda x: ((x,), lambda grad, needs: (grad,)))


def dropout(node: Node) -> Operator:
    """Dropout, which in inference does nothing."""
    for name in ("ratio", "seed"):
        node.take(name, None)
    training = node.constant(2)
    if len(node.constants) > 2 and (training is None or training.any()):
        node.refuse("training_mode")
    node.only_outputs(1)
    return Operator(lambda x, *_: ((x,), lambda grad, needs: (grad,)))


def leaky_relu(node: Node) -> Operator:
    """LeakyRelu: x, or alpha * x where x < 0."""
    alpha = node.take("alpha", 0.01)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        slope = np.where(x < 0, x.dtype.type(alpha), x.dtype.type(1))
        return (x * slope,), lambda grad, needs: (grad * slope,)

    return Operator(forward)


def clip(node: Node) -> Operator:
    """Clip: min(max(x, low), high), so that high wins where it is below low."""
    fixed = (node.take("min", None), node.take("max", None)) if node.opset < 11 else ()

    def forward(x: np.ndarray, *limits: np.ndarray | None) -> tuple[Outputs, Gradients]:
        low, high = (*(fixed or limits), None, None)[:2]
        y = x if low is None else np.maximum(x, np.asarray(low, x.dtype))
        y = y if high is None else np.minimum(y, np.asarray(high, x.dtype))
        return (y,), lambda grad, needs: (grad * (y == x),)

    return Operator(forward)


def softmax(node: Node) -> Operator:
    """Softmax along an axis; before version 13 of the operator set over all axes from that one on."""
    flat, axis = node.opset < 13, node.take("axis", 1 if node.opset < 13 else -1)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        at = _axis("Softmax", axis, x.ndim)
        shape = (math.prod(x.shape[:at]), math.prod(x.shape[at:])) if flat else x.shape
        along = 1 if flat else at
        y = F.softmax(x.reshape(shape), along)
        return (y.reshape(x.shape),), lambda grad, needs: (
            F.softmax_backward(grad.reshape(shape), y, along).reshape(x.shape),
        )

    return Operator(forward)


def _axis(where: str, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ShapeError(f"{where}: axis {axis} is not one of {rank}")
    return axis % rank


def add(node: Node) -> Operator:
    """Add, the smaller shapes stretched as NumPy does it."""

    def forward(a: np.ndarray, b: np.ndarray) -> tuple[Outputs, Gradients]:
        try:
            y = a + b
        except ValueError:
            raise ShapeError(f"Add: shapes {a.shape} and {b.shape} do not fit") from None
        return (y,), lambda grad, needs: (summed_to(grad, a.shape), summed_to(grad, b.shape))

    return Operator(forward)


def summed_to(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sum of grad over the axes along which an array of `shape` was stretched."""
    extra = grad.ndim - len(shape)
    stretched = tuple(i + extra for i, n in enumerate(shape) if n == 1 and grad.shape[i + extra] != 1)
    return grad.sum(axis=(*range(extra), *stretched), keepdims=True).reshape(shape)


def gemm(node: Node) -> Operator:
    """Gemm: alpha * A @ B + beta * C, A and B perhaps transposed."""
    alpha, beta = node.take("alpha", 1.0), node.take("beta", 1.0)
    turn_a, turn_b = node.take("transA", 0) == 1, node.take("transB", 0) == 1

    def forward(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> tuple[Outputs, Gradients]:
        if a.ndim != 2 or b.ndim != 2:
            raise ShapeError(f"Gemm: A and B must have 2 dimensions, got shapes {a.shape} and {b.shape}")
        rows, weight = a.T if turn_a else a, b if turn_b else b.T  # as `linear` takes them
        bias = c if c is not None and alpha == beta == 1 and c.shape == weight.shape[:1] else None
        y = F.linear(rows, weight, bias)
        if alpha != 1:
            y *= y.dtype.type(alpha)
        if c is not None and bias is None:
            y = y + y.dtype.type(beta) * c

        def gradient(grad: np.ndarray, needs: Needs) -> Sequence[np.ndarray | None]:
            wanted = (needs[0], needs[1], False)
            scaled = grad if alpha == 1 else grad * grad.dtype.type(alpha)
            grad_rows, grad_weight, _ = F.linear_backward(scaled, rows, weight, needs=wanted)
            return (
                grad_rows.T if turn_a and grad_rows is not None else grad_rows,
                grad_weight if turn_b or grad_weight is None else grad_weight.T,
                None if c is None else summed_to(grad * grad.dtype.type(beta), c.shape),
            )

        return (y,), gradient

    return Operator(forward)


def _channels(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A number for each channel, in a shape that stretches over x (N, C, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def batch_normalization(node: Node) -> Operator:
    """BatchNormalization by the statistics in the file: scale * (x - mean) / sqrt(var + epsilon) + b."""
    epsilon, training = node.take("epsilon", 1e-5), node.take("training_mode", 0)
    node.take("momentum", 0.9)
    if training or node.take("spatial", 1) != 1:
        node.refuse("training_mode = 1" if training else "spatial = 0")
    node.only_outputs(1)

    def forward(
        x: np.ndarray, scale: np.ndarray, b: np.ndarray, mean: np.ndarray, var: np.ndarray
    ) -> tuple[Outputs, Gradients]:
        if any(a.shape != x.shape[1:2] for a in (scale, b, mean, var)):
            raise ShapeError(f"BatchNormalization: {x.shape[1:2]} numbers were needed for x of shape {x.shape}")
        root = np.sqrt(var + var.dtype.type(epsilon))
        factor = _channels(scale / root, x)
        y = (x - _channels(mean, x)) * factor + _channels(b, x)
        axes = (0, *range(2, x.ndim))

        def gradient(grad: np.ndarray, needs: Needs) -> Sequence[np.ndarray | None]:
            grad_scale = (grad * (x - _channels(mean, x))).sum(axis=axes) / root
            return grad * factor, grad_scale, grad.sum(axis=axes), None, None

        return (y,), gradient

    return Operator(forward)


def lrn(node: Node) -> Operator:
    """LRN: x / (bias + alpha / size * the sum of the squares of the channels around)**beta."""
    alpha, beta, bias = node.take("alpha", 1e-4), node.take("beta", 0.75), node.take("bias", 1.0)
    size = node.take("size", 1)
    if size < 1:
        node.refuse(f"attribute size = {size}")
    before, after = (size - 1) // 2, size // 2

    def around(a: np.ndarray, before: int, after: int) -> np.ndarray:
        padded = np.pad(a, ((0, 0), (before, after), *[(0, 0)] * (a.ndim - 2)))
        return sum(padded[:, i : i + a.shape[1]] for i in range(size))  # type: ignore[return-value]

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        base = bias + alpha / size * around(x * x, before, after)
        power = base**-beta

        def gradient(grad: np.ndarray, needs: Needs) -> Sequence[np.ndarray | None]:
            through = around(grad * x * power / base, after, before)
            return (grad * power - 2 * alpha * beta / size * x * through,)

        return (x * power,), gradient

    return Operator(forward)
