"""A digest of the bits of many results: the same for the same machine code, whoever compiled it.

Its text is run in environments that have no such module.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

import fastconv.functional as F
from fastconv._runtime import forms
from fastconv.models import lenet5
from fastconv.optim import SGD, Adam
from fastconv.training import train_step

# (N, C, H, W), (OC, C/groups, KH, KW), stride, padding, groups, layout
CONVOLUTIONS = (
    ((8, 3, 32, 32), (16, 3, 5, 5), 1, 0, 1, "NCHW"),
    ((4, 64, 28, 28), (64, 64, 3, 3), 1, 1, 1, "NCHW"),
    ((2, 64, 28, 28), (128, 64, 3, 3), 2, 1, 1, "NCHW"),
    ((2, 256, 14, 14), (512, 256, 1, 1), 1, 0, 1, "NCHW"),
    ((2, 32, 28, 28), (32, 1, 3, 3), 1, 1, 32, "NCHW"),
    ((2, 28, 28, 64), (64, 3, 3, 64), 1, 1, 1, "NHWC"),
    ((2, 28, 28, 32), (32, 3, 3, 1), 2, 1, 32, "NHWC"),
)


def results(dtype: Any) -> dict[str, list[Any]]:
    """What a few calls of every kind give."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype)

    found: dict[str, list[Any]] = {}
    for n, (image, kernel, stride, padding, groups, layout) in enumerate(CONVOLUTIONS):
        x, w, b = normal(*image), normal(*kernel), normal(kernel[0])
        y = F.conv2d(x, w, b, stride, padding, 1, groups, layout=layout)
        grads = F.conv2d_backward(y, x, w, stride, padding, 1, groups, layout=layout)
        found[f"convolution {n}"] = [y, *grads]
    x = normal(4, 6, 24, 24)
    y, indices = F.max_pool2d_with_indices(x, 3, 2)
    pools = [y, indices, F.max_pool2d_backward(y, indices, x.shape), F.avg_pool2d(x, 3, 2)]
    found["pools"] = [*pools, F.avg_pool2d_backward(y, x.shape, 3, 2)]
    a, w = normal(64, 400), normal(120, 400)
    found["linear"] = [y := F.linear(a, w), *F.linear_backward(y, a, w)]
    optimizers: tuple[tuple[str, Any], ...] = (("SGD", SGD), ("Adam", Adam))
    for name, optimizer in optimizers:
        model, images = lenet5(rng=0, dtype=dtype), normal(64, 1, 28, 28)
        step, labels = optimizer(model.parameters(), 0.01), rng.integers(10, size=64)
        for _ in range(20):
            train_step(model, images, labels, step)
        found[f"LeNet-5, 20 steps of {name}"] = [parameter.value for parameter in model.parameters()]
    return found


def digests() -> dict[str, str]:
    """A digest of each."""
    found = {}
    for dtype in (np.float32, np.float64):
        for name, arrays in results(dtype).items():
            content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
            found[f"{name}, {np.dtype(dtype)}"] = hashlib.sha256(content).hexdigest()
    return found


if __name__ == "__main__":
    print(json.dumps({"digests": digests(), "counts": forms.COUNTS}))
