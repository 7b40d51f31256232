"""What is called to learn which kernels there are, and for which types of arguments."""

from __future__ import annotations

import functools
import importlib
import pickle
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastconv._warmup
import fastconv.functional as F
import fastconv.kernels
import fastconv.nn as nn
import fastconv.optim as optim
from fastconv._runtime import cells
from fastconv._runtime.forms import Form
from fastconv._runtime.jit import Kernel
from fastconv.models import IMAGE_SHAPES, MODELS
from fastconv.training import fit, train_step

DTYPES = (np.float32, np.float64)


def _functions(dtype: np.dtype) -> Iterator[Callable[[], Any]]:
    """Calls of what `warmup` leaves out."""
    x, logits, labels = np.ones((2, 4, 8, 8), dtype), np.ones((4, 3), dtype), np.zeros(4, np.int64)
    depthwise, weight = np.ones((4, 1, 3, 3), dtype), np.ones((6, 4, 3, 3), dtype)
    line, taps = np.ones((2, 4, 20), dtype), np.ones((6, 4, 3), dtype)
    yield lambda: F.conv1d_backward(F.conv1d(line, taps), line, taps)
    yield lambda: F.conv2d_backward(F.conv2d(x, depthwise, groups=4), x, depthwise, groups=4)
    turned = weight.transpose(1, 0, 2, 3)
    yield lambda: F.conv_transpose2d_backward(F.conv_transpose2d(x, turned, None, 2), x, turned, 2)
    for image in (x[0, 0], np.ones((64, 64), dtype)):
        yield functools.partial(F.correlate2d, image, weight[0, 0])
        yield functools.partial(F.convolve2d, image, weight[0, 0], mode="same")
    yield lambda: F.linear_backward(F.linear(logits, logits[:2]), logits, logits[:2])
    yield lambda: F.linear(np.ones((20, 3), dtype), logits[:2])
    yield lambda: F.cross_entropy(logits, labels)
    yield lambda: [f(x) for f in (F.relu, F.relu6, F.leaky_relu, F.sigmoid, F.tanh, F.softmax, F.log_softmax)]
    yield lambda: F.local_response_norm_backward(x, x, 3)


def _layers(dtype: np.dtype) -> nn.Sequential:
    """What none of the models has; of images of 28 x 28."""
    convolutions = nn.Conv2d(1, 8, 3, padding=1, rng=0, dtype=dtype), nn.Conv2d(8, 16, 5, rng=0, dtype=dtype)
    return nn.Sequential(
        convolutions[0], nn.Sigmoid(), nn.AvgPool2d(2), convolutions[1], nn.Tanh(), nn.MaxPool2d(3), nn.Flatten(),
        nn.Linear(144, 10, rng=0, dtype=dtype),
    )  # fmt: skip


def _train(model: Any, image_shape: tuple[int, int, int], dtype: np.dtype) -> None:
    # the sizes of batches choose kernels, images beyond these only take time: with 64 x 64 there are 20
    most = 64 if image_shape[1] * image_shape[2] <= 32 * 32 else 20
    x, labels = np.zeros((most, *image_shape), dtype), np.zeros(most, np.int64)
    for optimizer in (optim.SGD(model.parameters(), 0.01, 0.9), optim.Adam(model.parameters())):
        for images in (64, 20, 1):
            train_step(model, x[:images], labels[:images], optimizer)
    for other in (optim.Adagrad, optim.RMSprop):
        train_step(model, x, labels, other(model.parameters()), clip_value=1.0)
    train_step(model, x, labels, optimizer, clip_norm=1.0)
    for images in (64, 7, 1):
        model(x[:images])
    fit(model, (x, labels), optimizer=optimizer, epochs=1)


def call_everything() -> None:
    """Call the functions, layers and models that are to find their kernels compiled."""
    fastconv._warmup.warmup(DTYPES)
    for dtype in map(np.dtype, DTYPES):
        for call in _functions(dtype):
            call()
        for name, make in MODELS.items():
            _train(make(rng=0, dtype=dtype), IMAGE_SHAPES[name], dtype)
        _train(_layers(dtype), (1, 28, 28), dtype)


def asked_for() -> list[tuple[str, cells.Signature]]:
    """The forms that have been called in this process, with the types of their arguments."""
    forms = [form for form in cells.all_compiled() if isinstance(form, Form)]
    return [(form.name, signature) for form in forms for signature in form.signatures]


def left_out() -> list[str]:
    """The kernels that none of the calls has run, but those that are a part of another."""
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(fastconv.kernels.__path__, "fastconv.kernels.")
    ]
    kernels = {one for module in modules for one in vars(module).values() if isinstance(one, Kernel)}
    return sorted(
        one.forms[0].name for one in kernels if not one.forms[0].signatures and one.functions[-1].__name__[0] != "_"
    )


if __name__ == "__main__":
    call_everything()
    if left_out():
        raise SystemExit(f"nothing here calls {', '.join(left_out())}")
    Path(sys.argv[1]).write_bytes(pickle.dumps(asked_for()))
