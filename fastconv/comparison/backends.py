"""How fast a training step of a model is here, on the kernels and on the NumPy backend."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fastconv._runtime.backend import use_backend
from fastconv.nn import Layer
from fastconv.optim import Optimizer
from fastconv.training import train_step

Make: TypeAlias = Callable[[str], tuple[Layer, Optimizer]]

# Threads of BLAS and of the kernels go on spinning for a while after their work and would disturb each other.
SETTLE_SECONDS = 0.3
# of a side in a round: large models take seconds a step on NumPy
MOST_SECONDS = 1.0
FIRST_STEPS = 3  # the caches' and the processor's warm-up, not counted


def step_seconds(
    backend: str, dtype: str, make: Make, x: np.ndarray, labels: np.ndarray, steps: int, **clip: Any
) -> float:
    """The median time of a training step in seconds, after a warm-up; a second of steps, or `steps` if these are less.

    The learning rate is 0: a network that knows its few images by heart has gradients that are denormal, and slow.
    """
    x = x.astype(dtype, copy=False)
    with use_backend(backend):
        model, optimizer = make(dtype)
        start = time.perf_counter()
        train_step(model, x, labels, optimizer, lr_factor=0.0, **clip)
        first = time.perf_counter() - start
        if backend == "numpy" and first > MOST_SECONDS:  # where nothing is compiled, long enough to be the figure
            return first
        time.sleep(SETTLE_SECONDS)
        times: list[float] = []
        end = time.perf_counter() + MOST_SECONDS
        while not times or (len(times) < steps + FIRST_STEPS and time.perf_counter() < end):
            start = time.perf_counter()
            train_step(model, x, labels, optimizer, lr_factor=0.0, **clip)
            times.append(time.perf_counter() - start)
    return statistics.median(times[min(FIRST_STEPS, len(times) - 1) :])


def compare_backends(
    make: Make, x: np.ndarray, labels: np.ndarray, steps: int = 15, rounds: int = 3, **clip: Any
) -> dict[str, Any]:
    """Time a training step of a model on both backends, in turn.

    The kernels are timed in x's dtype alone, in which the model has been trained, so nothing is compiled for it.

    Args:
        make: a new model and its optimiser, in a given dtype.
        x: a batch of float32 or float64, (N, ...).
        labels: class ids (N,).
        steps: steps of each, a round.
        rounds: how often the sides alternate; the smallest median of each counts.
        clip: `clip_norm` or `clip_value`, as for `train_step`.

    Returns:
        A dictionary: `batch_size`, `dtype` (x's); `numba`, seconds a step of the kernels; `numpy_float64` and, where x
        has that dtype, `numpy_float32`, those of NumPy; `ratio_float64` and `ratio_float32`, these over the kernels'.
    """
    dtype = x.dtype.name
    sides = [("numba", dtype), *(("numpy", name) for name in dict.fromkeys((dtype, "float64")))]
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for side in sides:
            if not MOST_SECONDS < best[side] < float("inf"):  # one turn is enough for what takes so long
                best[side] = min(best[side], step_seconds(*side, make, x, labels, steps, **clip))
    own = best.pop(("numba", dtype))
    found: dict[str, Any] = {"batch_size": len(x), "dtype": dtype, "numba": own}
    found |= {f"numpy_{name}": seconds for (_, name), seconds in best.items()}
    return found | {f"ratio_{name}": seconds / own for (_, name), seconds in best.items()}
