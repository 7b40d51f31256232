"""ReLU6: times, and ratios to the NumPy backend."""

from __future__ import annotations

from benchmarks.cases import DTYPES
from benchmarks.measure import THREADS, Timed, Tracked, compile_all, share_of_numpy, use_threads, warmed
from benchmarks.shapes import POOLS

NAMES = tuple(shape.name for shape in POOLS)


def setup_cache() -> None:
    """Compile in a process of its own."""
    compile_all("ReLU6", NAMES[0])


setup_cache.timeout = 300


class ReLU6(Timed):
    """Seconds of each pass."""

    reference = "copies"
    params = (NAMES, DTYPES, THREADS)
    param_names = ("shape", "dtype", "threads")

    def setup(self, name: str, dtype: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("ReLU6", name, dtype)

    def time_forward(self, *_: object) -> None:
        self.case.forward()

    def time_gradient(self, *_: object) -> None:
        self.case.gradient()


class ReLU6ToNumpy(Tracked):
    """fastconv's time over the NumPy backend's in float32, all threads on both sides."""

    params = (NAMES,)
    param_names = ("shape",)

    def setup(self, name: str) -> None:
        self.case = warmed("ReLU6", name, "float32")

    def track_forward(self, *_: object) -> float:
        return share_of_numpy(self.case.forward)

    def track_gradient(self, *_: object) -> float:
        return share_of_numpy(self.case.gradient)
