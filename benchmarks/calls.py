"""One call of every public function, and every layer and model, on arrays of some 50,000 numbers and more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import Case, random
from fastconv import functional as F
from fastconv import nn
from fastconv.models import IMAGE_SHAPES, MODELS
from fastconv.optim import SGD
from fastconv.training import train_step

IMAGES, ROWS = (16, 16, 28, 28), (64, 512)
# not measured: they compute nothing, or are what first calls measure
SETTINGS = {"get_backend", "get_num_threads", "num_threads", "set_num_threads", "show_config", "use_backend", "warmup"}
COPIED = ("pool", "im2col", "col2im", "relu", "dropout", "Flatten", "Pool", "ReLU", "Dropout")


class Arrays:
    """What the calls are made on: images x and g, a signal, rows, and what a forward pass gives its gradient."""

    def __init__(self, dtype: str):
        self.x, self.g = random(IMAGES, dtype, 1), random(IMAGES, dtype, 2)
        self.weight, self.picture = random((16, 16, 3, 3), dtype, 3), random((256, 256), dtype, 4)
        self.signal, self.taps = random((16, 16, 1024), dtype, 5), random((16, 16, 5), dtype, 6)
        self.rows, self.matrix = random(ROWS, dtype, 7), random((256, 512), dtype, 8)
        self.mean, self.var = np.zeros(16, dtype), np.ones(16, dtype)
        self.labels = np.arange(64) % 10
        self.pooled, self.indices = F.max_pool2d_with_indices(self.x, 2)
        self.cols = F.im2col(self.x, 3, padding=1)
        self.mask = F.dropout_with_mask(self.x, 0.5, 0)[1]


FUNCTIONS: dict[str, Callable[[Arrays], Any]] = {
    "avg_pool2d": lambda a: F.avg_pool2d(a.x, 2),
    "avg_pool2d_backward": lambda a: F.avg_pool2d_backward(a.pooled, IMAGES, 2),
    "batch_norm2d": lambda a: F.batch_norm2d(a.x, a.mean, a.var, training=True),
    "batch_norm2d_backward": lambda a: F.batch_norm2d_backward(a.g, a.x, a.mean, a.var, training=True),
    "col2im": lambda a: F.col2im(a.cols, IMAGES, 3, padding=1),
    "conv1d": lambda a: F.conv1d(a.signal, a.taps, padding=2),
    "conv1d_backward": lambda a: F.conv1d_backward(a.signal, a.signal, a.taps, padding=2),
    "conv2d": lambda a: F.conv2d(a.x, a.weight, padding=1),
    "conv2d_backward": lambda a: F.conv2d_backward(a.g, a.x, a.weight, padding=1),
    "conv_output_shape": lambda a: F.conv_output_shape(IMAGES, (16, 16, 3, 3)),
    "conv_transpose2d": lambda a: F.conv_transpose2d(a.x, a.weight, padding=1),
    "conv_transpose2d_backward": lambda a: F.conv_transpose2d_backward(a.g, a.x, a.weight, padding=1),
    "convolve2d": lambda a: F.convolve2d(a.picture, a.picture[:5, :5]),
    "correlate2d": lambda a: F.correlate2d(a.picture, a.picture[:5, :5]),
    "cross_entropy": lambda a: F.cross_entropy(a.rows, a.labels),
    "dropout": lambda a: F.dropout(a.x, 0.5, 0),
    "dropout_backward": lambda a: F.dropout_backward(a.g, a.mask, 0.5),
    "dropout_with_mask": lambda a: F.dropout_with_mask(a.x, 0.5, 0),
    "global_avg_pool2d": lambda a: F.global_avg_pool2d(a.x),
    "global_avg_pool2d_backward": lambda a: F.global_avg_pool2d_backward(a.g[:, :, :1, :1], IMAGES),
    "im2col": lambda a: F.im2col(a.x, 3, padding=1),
    "leaky_relu": lambda a: F.leaky_relu(a.x),
    "leaky_relu_backward": lambda a: F.leaky_relu_backward(a.g, a.x),
    "linear": lambda a: F.linear(a.rows, a.matrix),
    "linear_backward": lambda a: F.linear_backward(a.rows[:, :256], a.rows, a.matrix),
    "local_response_norm": lambda a: F.local_response_norm(a.x, 5),
    "local_response_norm_backward": lambda a: F.local_response_norm_backward(a.g, a.x, 5),
    "log_softmax": lambda a: F.log_softmax(a.rows),
    "log_softmax_backward": lambda a: F.log_softmax_backward(a.rows, a.rows),
    "max_pool2d": lambda a: F.max_pool2d(a.x, 2),
    "max_pool2d_backward": lambda a: F.max_pool2d_backward(a.pooled, a.indices, IMAGES),
    "max_pool2d_with_indices": lambda a: F.max_pool2d_with_indices(a.x, 2),
    "max_unpool2d": lambda a: F.max_unpool2d(a.pooled, a.indices, IMAGES),
    "max_unpool2d_backward": lambda a: F.max_unpool2d_backward(a.g, a.indices),
    "relu": lambda a: F.relu(a.x),
    "relu6": lambda a: F.relu6(a.x),
    "relu6_backward": lambda a: F.relu6_backward(a.g, a.x),
    "relu_backward": lambda a: F.relu_backward(a.g, a.x),
    "sigmoid": lambda a: F.sigmoid(a.x),
    "sigmoid_backward": lambda a: F.sigmoid_backward(a.g, a.x),
    "softmax": lambda a: F.softmax(a.rows),
    "softmax_backward": lambda a: F.softmax_backward(a.rows, a.rows),
    "tanh": lambda a: F.tanh(a.x),
    "tanh_backward": lambda a: F.tanh_backward(a.g, a.x),
}


def _body(dtype: str) -> nn.Layer:
    return nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, rng=0, dtype=dtype), nn.ReLU())


LAYERS: dict[str, Callable[[str], nn.Layer]] = {
    "AvgPool2d": lambda dtype: nn.AvgPool2d(2),
    "BatchNorm2d": lambda dtype: nn.BatchNorm2d(16, dtype=dtype),
    "Conv2d": lambda dtype: nn.Conv2d(16, 16, 3, padding=1, rng=0, dtype=dtype),
    "ConvTranspose2d": lambda dtype: nn.ConvTranspose2d(16, 16, 3, padding=1, rng=0, dtype=dtype),
    "Dropout": lambda dtype: nn.Dropout(rng=0),
    "Flatten": lambda dtype: nn.Flatten(),
    "GlobalAvgPool2d": lambda dtype: nn.GlobalAvgPool2d(),
    "LeakyReLU": lambda dtype: nn.LeakyReLU(),
    "Linear": lambda dtype: nn.Linear(512, 256, rng=0, dtype=dtype),
    "LocalResponseNorm": lambda dtype: nn.LocalResponseNorm(5),
    "MaxPool2d": lambda dtype: nn.MaxPool2d(2),
    "PartialConv2d": lambda dtype: nn.PartialConv2d(np.eye(16, dtype=bool), 3, padding=1, rng=0, dtype=dtype),
    "ReLU": lambda dtype: nn.ReLU(),
    "ReLU6": lambda dtype: nn.ReLU6(),
    "Residual": lambda dtype: nn.Residual(_body(dtype)),
    "Sequential": _body,
    "Sigmoid": lambda dtype: nn.Sigmoid(),
    "Softmax": lambda dtype: nn.Softmax(),
    "Tanh": lambda dtype: nn.Tanh(),
}


def kind_of(name: str) -> str:
    """The reference loop of a function or layer: those that move numbers are copies."""
    return "copies" if any(part in name for part in COPIED) else "multiply-adds"


class Function(Case):
    """A public function."""

    calls = ("call",)

    def __init__(self, name: str, dtype: str):
        self.function, self.arrays = FUNCTIONS[name], Arrays(dtype)

    def call(self) -> Any:
        return self.function(self.arrays)


class OneLayer(Case):
    """A layer's inference, and its training: forward and backward."""

    calls = ("infer", "train")

    def __init__(self, name: str, dtype: str):
        self.layer = LAYERS[name](dtype)
        self.x = random(ROWS if name == "Linear" else IMAGES, dtype, 1)
        self.grad = np.ones_like(self.layer(self.x))

    def infer(self) -> Any:
        return self.layer(self.x)

    def train(self) -> Any:
        return self.layer.forward(self.x)[1](self.grad)


class Model(Case):
    """A model's inference and training step, of 16 images as it takes them."""

    calls = ("infer", "step")

    def __init__(self, name: str, dtype: str):
        self.x, self.labels = random((16, *IMAGE_SHAPES[name]), dtype, 1), np.arange(16) % 10
        self.model = MODELS[name](rng=0, dtype=np.dtype(dtype))
        self.optimizer = SGD(self.model.parameters(), lr=1e-6)

    def infer(self) -> Any:
        return self.model(self.x)

    def step(self) -> float:
        return train_step(self.model, self.x, self.labels, self.optimizer)
