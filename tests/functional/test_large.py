"""Arrays so large that kernels run on threads: small ones, as most tests have them, may stay on the calling thread."""

from __future__ import annotations

import numpy as np
import pytest
from every import BY_CONV2D, FUNCTIONS, ON_NUMPY
from strategies import integers

import fastconv
from fastconv import functional as F
from fastconv._runtime.jit import SERIAL_ELEMENTS

rng = np.random.default_rng(0)
IMAGES = integers(rng, (17, 23, 15, 16), np.float32)  # 93,840 elements
assert IMAGES.size > SERIAL_ELEMENTS
ROWS = IMAGES.reshape(-1, 48)
POOLED, INDICES = F.max_pool2d_with_indices(np.repeat(np.repeat(IMAGES, 2, 2), 2, 3), 2)
GRADS = rng.permutation(IMAGES.ravel()).reshape(IMAGES.shape)
LARGE = (17, 23, 30, 32)
FEW, MEANS = np.arange(1, 24, dtype=np.float32), np.ones((17, 23, 1, 1), np.float32)
WEIGHT, SMALL = integers(rng, (24, 48), np.float32), integers(rng, (len(ROWS), 24), np.float32)

CALLS = {
    "relu": lambda: F.relu(IMAGES),
    "relu_backward": lambda: F.relu_backward(GRADS, IMAGES),
    "relu6": lambda: F.relu6(IMAGES * 4),
    "relu6_backward": lambda: F.relu6_backward(GRADS, IMAGES * 4),
    "leaky_relu": lambda: F.leaky_relu(IMAGES, 0.5),
    "leaky_relu_backward": lambda: F.leaky_relu_backward(GRADS, IMAGES, 0.5),
    "max_pool2d": lambda: F.max_pool2d(IMAGES, 3, 2),
    "max_pool2d_with_indices": lambda: F.max_pool2d_with_indices(IMAGES, 3, 1, 1),
    "max_pool2d_backward": lambda: F.max_pool2d_backward(GRADS, INDICES, LARGE),
    "max_unpool2d": lambda: F.max_unpool2d(POOLED, INDICES, LARGE),
    "max_unpool2d_backward": lambda: F.max_unpool2d_backward(np.repeat(np.repeat(GRADS, 2, 2), 2, 3), INDICES),
    "avg_pool2d": lambda: F.avg_pool2d(IMAGES, 2),
    "avg_pool2d_backward": lambda: F.avg_pool2d_backward(GRADS[:, :, :15, :16], LARGE, 2),
    "global_avg_pool2d": lambda: F.global_avg_pool2d(IMAGES),
    "global_avg_pool2d_backward": lambda: F.global_avg_pool2d_backward(MEANS * 240, IMAGES.shape),
    "linear": lambda: F.linear(ROWS, WEIGHT),
    "linear_backward": lambda: F.linear_backward(SMALL, ROWS, WEIGHT),
    "batch_norm2d": lambda: F.batch_norm2d(IMAGES, FEW * 0, FEW * 0 + 1, FEW, FEW, eps=0.0),
    "batch_norm2d_backward": lambda: F.batch_norm2d_backward(GRADS, IMAGES, FEW * 0, FEW * 0 + 1, FEW, eps=0.0),
    "im2col": lambda: F.im2col(IMAGES, 2, order="cols"),
    "col2im": lambda: F.col2im(F.im2col(IMAGES, 2, order="cols"), IMAGES.shape, 2, order="cols"),
    "conv2d": lambda: F.conv2d(IMAGES, WEIGHT[:, :23, None, None]),
    "conv2d_backward": lambda: F.conv2d_backward(
        F.conv2d(IMAGES, WEIGHT[:, :23, None, None]), IMAGES, WEIGHT[:, :23, None, None]
    ),
    "conv2d, NHWC": lambda: F.conv2d(IMAGES.transpose(0, 2, 3, 1), WEIGHT[:, None, None, :23], layout="NHWC"),
    "conv2d_backward, NHWC": lambda: F.conv2d_backward(
        np.ascontiguousarray(GRADS.transpose(0, 2, 3, 1)), IMAGES.transpose(0, 2, 3, 1), WEIGHT[:23, None, None, :23],
        layout="NHWC",
    ),
}  # fmt: skip


def test_every_function_with_kernels_has_a_row():
    left_out = FUNCTIONS - {name.split(",")[0] for name in CALLS}
    assert {name.removesuffix("_backward") for name in left_out} == ON_NUMPY | BY_CONV2D


@pytest.mark.parametrize("name", CALLS)
def test_large_arrays_give_what_numpy_gives(name):
    """Small integers, of which each order of summation gives the same."""
    found = CALLS[name]()
    with fastconv.use_backend("numpy"):
        expected = CALLS[name]()
    for a, b in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, expected))):
        np.testing.assert_array_equal(a, b)
