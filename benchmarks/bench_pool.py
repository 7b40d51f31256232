"""Pooling: times, memory, and ratios to the NumPy backend."""

from __future__ import annotations

from benchmarks import cases
from benchmarks.cases import DTYPES
from benchmarks.measure import THREADS, Timed, Tracked, compile_all, share_of_numpy, use_threads, warmed
from benchmarks.shapes import POOLS

NAMES = tuple(shape.name for shape in POOLS)


def setup_cache() -> None:
    """Compile in a process of its own: LLVM's memory would count in `peakmem_`."""
    compile_all("MaxPool", NAMES[0])
    compile_all("AvgPool", NAMES[0])


setup_cache.timeout = 300


class MaxPool(Timed):
    """Seconds of max-pooling."""

    reference = "copies"
    params = (NAMES, DTYPES, THREADS)
    param_names = ("shape", "dtype", "threads")

    def setup(self, name: str, dtype: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("MaxPool", name, dtype)

    def time_forward(self, *_: object) -> None:
        self.case.forward()

    def time_forward_with_indices(self, *_: object) -> None:
        self.case.forward_with_indices()

    def time_gradient(self, *_: object) -> None:
        self.case.gradient()


class AvgPool(Timed):
    """Seconds of average pooling."""

    reference = "copies"
    params = (NAMES, DTYPES, THREADS)
    param_names = ("shape", "dtype", "threads")

    def setup(self, name: str, dtype: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("AvgPool", name, dtype)

    def time_forward(self, *_: object) -> None:
        self.case.forward()

    def time_gradient(self, *_: object) -> None:
        self.case.gradient()


class MaxPoolMemory:
    """The peak of a process that makes one call."""

    params = (NAMES, DTYPES)
    param_names = ("shape", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        self.case = cases.MaxPool(name, dtype)

    def peakmem_forward_with_indices(self, *_: object) -> None:
        self.case.forward_with_indices()


class MaxPoolToNumpy(Tracked):
    """fastconv's time over the NumPy backend's in float32, all threads on both sides."""

    params = (NAMES,)
    param_names = ("shape",)

    def setup(self, name: str) -> None:
        self.case = warmed("MaxPool", name, "float32")

    def track_forward_with_indices(self, *_: object) -> float:
        return share_of_numpy(self.case.forward_with_indices)

    def track_gradient(self, *_: object) -> float:
        return share_of_numpy(self.case.gradient)
