"""Seconds of every algorithm that a plan can choose; `tests/test_coverage.py` compares the list with the plans."""

from __future__ import annotations

from benchmarks.cases import DTYPES
from benchmarks.measure import THREADS, Timed, use_threads, warmed
from benchmarks.plans import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, PlannedConv, names


class _Product(Timed):
    param_names = ("algorithm, shape, layout", "dtype", "threads")

    def setup(self, name: str, dtype: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed(PlannedConv, name, dtype)


class Forward(_Product):
    """Of a convolution."""

    params = (names(FORWARD), DTYPES, THREADS)

    def time_call(self, *_: object) -> None:
        self.case.forward()


class InputGradient(_Product):
    """Of the gradient of a convolution's input."""

    params = (names(INPUT_GRADIENT), DTYPES, THREADS)

    def time_call(self, *_: object) -> None:
        self.case.input_gradient()


class WeightGradient(_Product):
    """Of the gradient of a convolution's weights."""

    params = (names(WEIGHT_GRADIENT), DTYPES, THREADS)

    def time_call(self, *_: object) -> None:
        self.case.weight_gradient()
