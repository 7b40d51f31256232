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
        return (F.leaky_relu(x, alpha),), lambda grad, needs: (F.leaky_relu_backward(grad, x, alpha),)

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


def _images(where: str, x: np.ndarray) -> np.ndarray:
    """The view of x (N, C, ...) as images with one row."""
    if x.ndim < 2:
        raise ShapeError(f"{where}: x must have a batch and channels, got shape {x.shape}")
    return x.reshape(*x.shape[:2], 1, math.prod(x.shape[2:]))


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
        images = _images("BatchNormalization", x)
        y = F.batch_norm2d(images, mean, var, scale, b, eps=epsilon)

        def gradient(grad: np.ndarray, needs: Needs) -> Sequence[np.ndarray | None]:
            wanted = (needs[0], needs[1], needs[2])
            grads = F.batch_norm2d_backward(
                grad.reshape(images.shape), images, mean, var, scale, eps=epsilon, needs=wanted
            )
            return None if grads[0] is None else grads[0].reshape(x.shape), grads[1], grads[2], None, None

        return (y.reshape(x.shape),), gradient

    return Operator(forward)


def lrn(node: Node) -> Operator:
    """LRN: x / (bias + alpha / size * the sum of the squares of the channels around)**beta."""
    options = (node.take("alpha", 1e-4), node.take("beta", 0.75), node.take("bias", 1.0))
    size = node.take("size", 1)
    if size < 1:
        node.refuse(f"attribute size = {size}")
    # of an even number of channels ONNX has one more behind, fastconv before
    order = slice(None, None, 1 if size % 2 else -1)

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        images = _images("LRN", x)[:, order]
        y = F.local_response_norm(images, size, *options)

        def gradient(grad: np.ndarray, needs: Needs) -> Sequence[np.ndarray | None]:
            backwards = grad.reshape(images.shape)[:, order]
            return (F.local_response_norm_backward(backwards, images, size, *options)[:, order].reshape(x.shape),)

        return (y[:, order].reshape(x.shape),), gradient

    return Operator(forward)


def global_average_pool(node: Node) -> Operator:
    """GlobalAveragePool: the mean of each plane."""

    def forward(x: np.ndarray) -> tuple[Outputs, Gradients]:
        images = _images("GlobalAveragePool", x)
        y = F.global_avg_pool2d(images)
        return (y.reshape(*x.shape[:2], *[1] * (x.ndim - 2)),), lambda grad, needs: (
            F.global_avg_pool2d_backward(grad.reshape(y.shape), images.shape).reshape(x.shape),
        )

    return Operator(forward)


def reduce_mean(node: Node) -> Operator:
    """ReduceMean: the mean over some axes, or all, as PyTorch writes a global average."""
    keep, idle = node.take("keepdims", 1) == 1, node.take("noop_with_empty_axes", 0) == 1
    fixed = node.take_integers("axes") if node.opset < 18 else None

    def forward(x: np.ndarray, given: np.ndarray | None = None) -> tuple[Outputs, Gradients]:
        wanted = fixed if given is None else [int(axis) for axis in given]
        axes = [_axis("ReduceMean", axis, x.ndim) for axis in wanted or ([] if idle else range(x.ndim))]
        y = x.mean(axis=tuple(axes), keepdims=True)
        count = math.prod(x.shape[axis] for axis in axes)

        def gradient(grad: np.ndarray, needs: Needs) -> Sequence[np.ndarray | None]:
            return (np.broadcast_to(grad.reshape(y.shape) / grad.dtype.type(count), x.shape).copy(), None)

        shape = [n for i, n in enumerate(y.shape) if keep or i not in axes]
        return (y.reshape(shape),), gradient

    return Operator(forward)
