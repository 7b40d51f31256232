"""Compiling before the work begins."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._runtime import notices, shipped, store

# x, weight and stride of convolutions that together run every variant of the kernels
CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...] = (
    ((1, 2, 6, 6), (3, 2, 3, 3), 1),
    ((9, 2, 6, 6), (3, 2, 3, 3), 1),
    ((1, 16, 8, 8), (16, 16, 3, 3), 2),
    ((1, 4, 6, 6), (16, 4, 5, 5), 1),
    ((1, 128, 8, 8), (512, 128, 1, 1), 1),
    ((1, 2, 4, 4), (1, 2, 1, 1), 2),
    ((1, 64, 6, 6), (64, 64, 5, 5), 3),
    ((1, 16, 6, 6), (16, 1, 3, 3), 1),
)
# x and weight of those with channels last: with many channels, and depthwise
CHANNELS_LAST: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((1, 6, 6, 48), (48, 3, 3, 48)),
    ((1, 6, 6, 16), (16, 3, 3, 1)),
)


def warmup(dtypes: Iterable[DTypeLike] = (np.float32, np.float64)) -> float:
    """Compile the kernels, or read them from the disk cache, so that later calls do not wait for it.

    Processes that are forked afterwards (`multiprocessing.Pool` on Linux, workers of a data loader) have what was
    compiled here: they run it on their one thread and compile nothing. Processes that are started anew (`spawn`,
    `forkserver`, joblib) read it from the disk cache. A fork while another thread compiles waits until it has done.

    Args:
        dtypes: float32, float64 or both.

    Returns:
        The seconds it took.

    Raises:
        TypeError: dtypes is not a list or another iterable, as a single dtype is not, or holds what is no dtype.
        ValueError: a dtype is neither.

    Example:
        >>> warmup([]) < 1
        True
    """
    from tqdm import tqdm

    wanted = _wanted(dtypes)
    start = time.perf_counter()
    calls = [(call, dtype) for dtype in wanted for call in CALLS]
    with notices.silence(), _compiled_by_others(wanted):
        for call, dtype in tqdm(calls, desc="compiling", disable=None, leave=False):
            call(dtype)
    return time.perf_counter() - start


@contextlib.contextmanager
def _compiled_by_others(dtypes: list[np.dtype]) -> Iterator[None]:
    """Have a process for each other processor compile its part, into the folder that this one then loads it from.

    They are a help and no more: what they have not compiled, for whatever reason, is compiled here.
    """
    others = min((os.cpu_count() or 1), len(dtypes) * len(CALLS)) - 1
    if shipped.archive() or store.of_user().folder is None or numba.config.DISABLE_JIT:
        others = 0
    names = [dtype.name for dtype in dtypes]
    scripts = [PART.format(path=sys.path, names=names, part=part, parts=others + 1) for part in range(1, others + 1)]
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for script in scripts
    ]
    try:
        if processes:
            run_part(names, 0, others + 1)
            for process in processes:
                process.wait()
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_part(names: list[str], part: int, parts: int) -> None:
    """Compile one of `parts` parts of what `warmup` compiles for dtypes with these names."""
    calls = [(call, np.dtype(name)) for call in CALLS for name in names]
    for call, dtype in calls[part::parts]:
        call(dtype)


def _wanted(dtypes: Any) -> list[np.dtype]:
    if isinstance(dtypes, str | bytes) or not isinstance(dtypes, Iterable):
        raise TypeError(f"warmup: dtypes must be a list of dtypes, got {dtypes!r}")
    wanted = []
    for given in dtypes:
        try:
            dtype = np.dtype(given)
        except TypeError:
            raise TypeError(f"warmup: dtypes must hold float32 or float64, got {given!r}") from None
        if given is None or dtype not in (np.float32, np.float64):
            raise ValueError(f"warmup: dtypes must be float32 or float64, got {given if given is None else dtype}")
        wanted.append(dtype)
    return wanted


def _convolutions(dtype: np.dtype[Any]) -> None:
    for image, kernel, stride in CONVOLUTIONS:
        x, weight = np.ones(image, dtype), np.ones(kernel, dtype)
        groups = image[1] // kernel[1]
        for padding in (0, 1, 2):
            y = F.conv2d(x, weight, None, stride, padding, 1, groups)
            F.conv2d(x, weight, None, stride, padding, 1, groups, algorithm="im2col")
            F.conv2d_backward(y, x, weight, stride, padding, 1, groups)
    for layout in ("NCHW", "NHWC"):
        F.conv2d(np.ones((1, 3, 3, 3), dtype), np.ones((3, 3, 3, 3), dtype), layout=layout, algorithm="winograd")
    x, weight = np.ones((1, 64, 48, 48), dtype), np.ones((64, 64, 3, 3), dtype)  # as large as it takes
    F.conv2d_backward(x[:, :, 1:-1, 1:-1], x, weight, needs=(False, True, False))
    for image, kernel in CHANNELS_LAST:
        x, weight = np.ones(image, dtype), np.ones(kernel, dtype)
        groups = image[3] // kernel[3]
        y = F.conv2d(x, weight, None, 1, 1, 1, groups, layout="NHWC")
        F.conv2d_backward(y, x, weight, 1, 1, 1, groups, layout="NHWC")


def _windows(dtype: np.dtype[Any]) -> None:
    x = np.ones((1, 1, 12, 12), dtype)
    for order in ("rows", "cols", "unfold"):
        F.col2im(F.im2col(x, 3, order=order), x.shape, 3, order=order)
    for stride in (2, 3):  # in vectors, and one by one
        y, indices = F.max_pool2d_with_indices(x, 3, stride)
        F.max_pool2d_backward(y, indices, x.shape)
        F.max_pool2d(x, 3, stride)
        F.avg_pool2d_backward(F.avg_pool2d(x, 3, stride), x.shape, 3, stride)
        F.max_unpool2d_backward(F.max_unpool2d(y, indices, x.shape), indices)
    for size in (12, 256):  # on the calling thread, and on all
        planes = np.ones((1, 1, size, size), dtype)
        F.global_avg_pool2d_backward(F.global_avg_pool2d(planes), planes.shape)


def _normalisation(dtype: np.dtype[Any]) -> None:
    for size in (4, 256):  # on the calling thread, and on all
        x, (mean, var) = np.ones((1, 1, size, size), dtype), np.ones((2, 1), dtype)
        for training in (False, True):
            F.batch_norm2d_backward(F.batch_norm2d(x, mean, var, training=training), x, mean, var, training=training)


def _training(dtype: np.dtype[Any]) -> None:
    # here, so that importing fastconv does not import what only models need
    from fastconv.models import lenet5
    from fastconv.nn import BatchNorm2d, Conv2d, GlobalAvgPool2d, Sequential
    from fastconv.optim import SGD, Adam
    from fastconv.training import fit, train_step

    model = lenet5(dtype=dtype, rng=0)
    x, labels = np.zeros((64, 1, 28, 28), dtype), np.zeros(64, np.int64)
    sgd, adam = SGD(model.parameters(), 0.01, 0.9), Adam(model.parameters())
    fit(model, (x, labels), optimizer=sgd)
    train_step(model, x, labels, adam)
    train_step(model, x[:1], labels[:1], sgd)  # too few to compute side by side
    for images in (x, x[:1], x[:7]):
        model(images)
    folded = Sequential(Conv2d(1, 1, 3, dtype=dtype), BatchNorm2d(1, dtype=dtype), GlobalAvgPool2d())
    for _ in range(3):  # the third time, launches are recorded, and made again
        folded(x[:1])
    F.relu_backward(F.relu(x), x)
    F.relu6_backward(F.relu6(x), x)
    F.leaky_relu_backward(F.leaky_relu(x), x)


# the longest first, of which each process takes one
CALLS = (_convolutions, _training, _windows, _normalisation)
PART = "import sys; sys.path[:] = {path!r}; from fastconv._warmup import run_part; run_part({names!r}, {part}, {parts})"
