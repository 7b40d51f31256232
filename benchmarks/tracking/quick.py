"""The rows that are compared for a pull request: each kind of kernel, long enough that a launch is not the figure."""

from __future__ import annotations

import re
from typing import Any

# asv's name, and the parameters as asv writes them
QUICK = (
    ("bench_algorithms.Forward.time_call", "PACKED, 3x3 of 96, NCHW", "float32", 1),
    ("bench_algorithms.Forward.time_call", "PACKED, 3x3 of 96, NCHW", "float32", "all"),
    ("bench_algorithms.Forward.time_call", "DIRECT, ResNet c1, NCHW", "float32", 1),
    ("bench_algorithms.Forward.time_call", "DIRECT, ResNet c1, NCHW", "float64", 1),
    ("bench_algorithms.Forward.time_call", "BY_IMAGE, LeNet c1, NCHW", "float32", 1),
    ("bench_algorithms.Forward.time_call", "DEPTHWISE, depthwise, NHWC", "float32", 1),
    ("bench_algorithms.InputGradient.time_call", "SCATTERED, LeNet c2, NCHW", "float32", 1),
    ("bench_algorithms.InputGradient.time_call", "GATHERED BY_IMAGE, LeNet c1, NCHW", "float32", 1),
    ("bench_algorithms.WeightGradient.time_call", "DOTS, LeNet c1, NCHW", "float32", 1),
    ("bench_algorithms.WeightGradient.time_call", "SHARDED, LeNet c2, NCHW", "float32", 1),
    ("bench_algorithms.WeightGradient.time_call", "BLOCKED, 3x3 of 96, NCHW", "float32", 1),
    ("bench_pool.MaxPool.time_forward_with_indices", "LeNet p1", "float32", 1),
    ("bench_pool.MaxPool.time_gradient", "LeNet p1", "float32", 1),
    ("bench_im2col.Im2col.time_im2col", "LeNet c1", "rows", 1),
    ("bench_linear.Linear.time_forward", "LeNet f1", "float32", 1),
    ("bench_lenet.Step.time_step", "float32", 1),
    ("bench_lenet.Step.time_step", "float32", "all"),
    ("bench_lenet.Inference.time_infer", 256, 1),
)


def names() -> str:
    """A regular expression of the benchmarks of these rows."""
    return "^(" + "|".join(re.escape(name) for name in dict.fromkeys(row[0] for row in QUICK)) + ")$"


def is_quick(name: str, values: tuple[Any, ...]) -> bool:
    """Whether a row, with its parameters as asv writes them, is one of these."""
    return (name, *values) in {(row[0], *map(repr, row[1:])) for row in QUICK}
