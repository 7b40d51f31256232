"""How fast a LeNet-5 training step is here, on the kernels and on the NumPy backend."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv._backend import use_backend
from fastconv.models import lenet5
from fastconv.optim import SGD
from fastconv.training import train_step

# Threads of BLAS and of the kernels go on spinning for a while after their work and would disturb each other.
SETTLE_SECONDS = 0.3


def step_seconds(backend: str, dtype: DTypeLike, batch_size: int, steps: int) -> float:
    """The median time of a LeNet-5 training step in seconds, after a warm-up."""
    rng = np.random.default_rng(0)
    x = rng.random((batch_size, 1, 28, 28)).astype(dtype)
    labels = rng.integers(0, 10, batch_size)
    with use_backend(backend):
        model = lenet5(rng=0, dtype=dtype)
        optimizer = SGD(model.parameters(), 0.01, 0.9)
        train_step(model, x, labels, optimizer)
        time.sleep(SETTLE_SECONDS)
        times = []
        for i in range(steps + 3):
            start = time.perf_counter()
            train_step(model, x, labels, optimizer)
            if i >= 3:
                times.append(time.perf_counter() - start)
    return statistics.median(times)


def compare_backends(batch_size: int = 64, steps: int = 15, rounds: int = 3) -> dict[str, Any]:
    """Time a LeNet-5 training step on both backends, in turn.

    Args:
        batch_size: images a step.
        steps: steps of each, a round.
        rounds: how often the sides alternate; the smallest median of each counts.

    Returns:
        A dictionary: `batch_size`; seconds a step by name, `numba_float32`, `numba_float64`, `numpy_float32`,
        `numpy_float64`; and the ratios `ratio_float64` (NumPy in float64 over the kernels in float32) and
        `ratio_float32` (both in float32).
    """
    sides = [(backend, dtype) for dtype in ("float32", "float64") for backend in ("numba", "numpy")]
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for side in sides:
            best[side] = min(best[side], step_seconds(*side, batch_size, steps))
    found: dict[str, Any] = {"batch_size": batch_size}
    found |= {f"{backend}_{dtype}": seconds for (backend, dtype), seconds in best.items()}
    found["ratio_float64"] = found["numpy_float64"] / found["numba_float32"]
    found["ratio_float32"] = found["numpy_float32"] / found["numba_float32"]
    return found
