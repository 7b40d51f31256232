"""What is measured: each case holds the arrays of one shape, its methods are single calls without arguments."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import fastconv
from benchmarks.shapes import CONV, LINEAR, POOL
from fastconv.data import load_digits, minibatches
from fastconv.models import lenet5
from fastconv.optim import SGD
from fastconv.training import train_step

DTYPES = ("float32", "float64")
BATCH = 64
LINE = 64


def random(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Normal numbers, the same in every run, that begin with a line of the cache: elsewhere a kernel may be slower."""
    numbers = np.random.default_rng(seed).standard_normal(shape, dtype=np.dtype(dtype))
    store = np.empty(numbers.nbytes + LINE, np.uint8)
    start = -store.ctypes.data % LINE
    aligned = store[start : start + numbers.nbytes].view(numbers.dtype).reshape(shape)
    aligned[...] = numbers
    return aligned


class Case:
    """The base of the cases; `calls` names the methods that can be measured."""

    calls: tuple[str, ...] = ()

    def warmed(self) -> Any:
        """Call everything once, so that nothing is compiled or loaded while a clock runs; returns the case."""
        for name in self.calls:
            getattr(self, name)()
        return self


class Conv(Case):
    """A convolution and its gradients."""

    calls = ("forward", "input_gradient", "weight_gradient")

    def __init__(self, name: str, dtype: str):
        shape = CONV[name]
        self.options = shape.options
        self.x, self.weight = random(shape.input_shape, dtype, 1), random(shape.weight_shape, dtype, 2)
        self.bias, self.grad = random((shape.OC,), dtype, 3), random(shape.output_shape, dtype, 4)

    def forward(self) -> Any:
        return fastconv.conv2d(self.x, self.weight, self.bias, *self.options)

    def input_gradient(self) -> Any:
        return self._gradient((True, False, False))

    def weight_gradient(self) -> Any:
        return self._gradient((False, True, True))

    def _gradient(self, needs: tuple[bool, bool, bool]) -> Any:
        return fastconv.conv2d_backward(self.grad, self.x, self.weight, *self.options, needs=needs)


class MaxPool(Case):
    """Max-pooling for inference, for training (with indices), and its gradient."""

    calls = ("forward", "forward_with_indices", "gradient")

    def __init__(self, name: str, dtype: str):
        shape = POOL[name]
        self.options, self.shape = shape.options, shape.input_shape
        self.x, self.grad = random(shape.input_shape, dtype, 1), random(shape.output_shape, dtype, 2)

    @functools.cached_property
    def indices(self) -> np.ndarray:
        """Where the largest pixels are."""
        return fastconv.max_pool2d_with_indices(self.x, *self.options)[1]

    def forward(self) -> Any:
        return fastconv.max_pool2d(self.x, *self.options)

    def forward_with_indices(self) -> Any:
        return fastconv.max_pool2d_with_indices(self.x, *self.options)

    def gradient(self) -> Any:
        return fastconv.max_pool2d_backward(self.grad, self.indices, self.shape)


class AvgPool(Case):
    """Average pooling and its gradient."""

    calls = ("forward", "gradient")

    def __init__(self, name: str, dtype: str):
        shape = POOL[name]
        self.options, self.shape = shape.options, shape.input_shape
        self.x, self.grad = random(shape.input_shape, dtype, 1), random(shape.output_shape, dtype, 2)

    def forward(self) -> Any:
        return fastconv.avg_pool2d(self.x, *self.options)

    def gradient(self) -> Any:
        return fastconv.avg_pool2d_backward(self.grad, self.shape, *self.options)


class Im2col(Case):
    """The windows of a convolution as a matrix, and the way back."""

    calls = ("im2col", "col2im")

    def __init__(self, name: str, dtype: str, order: str = "rows"):
        shape = CONV[name]
        self.options, self.order, self.shape = (shape.K, shape.stride, shape.pad), order, shape.input_shape
        self.x = random(shape.input_shape, dtype, 1)

    @functools.cached_property
    def cols(self) -> np.ndarray:
        """The matrix that `col2im` takes."""
        return self.im2col()

    def im2col(self) -> Any:
        return fastconv.im2col(self.x, *self.options, order=self.order)

    def col2im(self) -> Any:
        return fastconv.col2im(self.cols, self.shape, *self.options, order=self.order)


class Linear(Case):
    """A linear layer and its gradients."""

    calls = ("forward", "input_gradient", "weight_gradient")

    def __init__(self, name: str, dtype: str):
        shape = LINEAR[name]
        self.x, self.weight = random((shape.N, shape.IN), dtype, 1), random((shape.OUT, shape.IN), dtype, 2)
        self.bias, self.grad = random((shape.OUT,), dtype, 3), random((shape.N, shape.OUT), dtype, 4)

    def forward(self) -> Any:
        return fastconv.linear(self.x, self.weight, self.bias)

    def input_gradient(self) -> Any:
        return fastconv.linear_backward(self.grad, self.x, self.weight, needs=(True, False, False))

    def weight_gradient(self) -> Any:
        return fastconv.linear_backward(self.grad, self.x, self.weight, needs=(False, True, True))


class ReLU6(Case):
    """A rectifier with an upper limit, and its gradient, on the activations of a layer."""

    calls = ("forward", "gradient")

    def __init__(self, name: str, dtype: str):
        shape = POOL[name].input_shape
        self.x, self.grad = random(shape, dtype, 1), random(shape, dtype, 2)

    def forward(self) -> Any:
        return fastconv.relu6(self.x)

    def gradient(self) -> Any:
        return fastconv.relu6_backward(self.grad, self.x)


class LeNet(Case):
    """LeNet-5 and the embedded digits: inference, a training step, an epoch."""

    calls = ("step", "infer")

    def __init__(self, dtype: str, images: int = BATCH):
        (x, labels), _ = load_digits(dtype=dtype)
        self.x, self.labels = x, labels
        self.batch = x[:images], labels[:images]
        self.model = lenet5(rng=0, dtype=np.dtype(dtype))
        # so small a rate that the weights of the first and of the last step of a benchmark are alike
        self.optimizer = SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def infer(self) -> Any:
        return self.model(self.batch[0])

    def step(self) -> Any:
        return train_step(self.model, *self.batch, self.optimizer)

    def epoch(self) -> Any:
        for x, labels in minibatches(self.x, self.labels, BATCH, 0):
            train_step(self.model, x, labels, self.optimizer)
