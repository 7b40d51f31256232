"""Compilation before the clock starts: what is timed is run once with batches of the sizes that will come."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np

from fastconv.nn import Layer
from fastconv.optim import Optimizer
from fastconv.training import EVALUATION_BATCH, Pair, evaluate, train_step


def compile_evaluation(model: Layer, x: np.ndarray, labels: np.ndarray) -> None:
    """Evaluate a batch, and the last one, which is smaller and may be computed by other kernels."""
    for size in _batches(len(x), EVALUATION_BATCH):
        evaluate(model, x[:size], labels[:size])


def compile_training(
    model: Layer, optimizer: Optimizer, train: Pair, test: Pair, batch_size: int, **clip: Any
) -> float:
    """Take steps with copies and evaluate the model; returns the seconds it took."""
    start = time.perf_counter()
    spare_model, spare_optimizer = copy.deepcopy((model, optimizer))
    x, labels = train
    for size in _batches(len(x), batch_size):
        train_step(spare_model, x[:size], labels[:size], spare_optimizer, **clip)
    compile_evaluation(model, *test)
    return time.perf_counter() - start


def _batches(count: int, batch_size: int) -> list[int]:
    """The sizes of minibatches of `count` images."""
    return [size for size in (batch_size * (count >= batch_size), count % batch_size) if size]
