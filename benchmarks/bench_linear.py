"""Linear layers: times, memory, and ratios to the NumPy backend, which is BLAS here."""

from __future__ import annotations

from benchmarks import cases
from benchmarks.cases import DTYPES
from benchmarks.measure import THREADS, Timed, Tracked, compile_all, share_of_numpy, use_threads, warmed
from benchmarks.shapes import LINEARS

NAMES = tuple(shape.name for shape in LINEARS)


def setup_cache() -> None:
    """Compile in a process of its own: LLVM's memory would count in `peakmem_`."""
    compile_all("Linear", NAMES[0])


setup_cache.timeout = 300


class Linear(Timed):
    """Seconds of each pass."""

    params = (NAMES, DTYPES, THREADS)
    param_names = ("shape", "dtype", "threads")

    def setup(self, name: str, dtype: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("Linear", name, dtype)

    def time_forward(self, *_: object) -> None:
        self.case.forward()

    def time_input_gradient(self, *_: object) -> None:
        self.case.input_gradient()

    def time_weight_gradient(self, *_: object) -> None:
        self.case.weight_gradient()


class LinearMemory:
    """The peak of a process that makes one call."""

    params = (NAMES[:1], DTYPES)
    param_names = ("shape", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        self.case = cases.Linear(name, dtype)

    def peakmem_forward(self, *_: object) -> None:
        self.case.forward()


class LinearToNumpy(Tracked):
    """fastconv's time over the NumPy backend's in float32, all threads on both sides."""

    params = (NAMES,)
    param_names = ("shape",)

    def setup(self, name: str) -> None:
        self.case = warmed("Linear", name, "float32")

    def track_forward(self, *_: object) -> float:
        return share_of_numpy(self.case.forward)

    def track_input_gradient(self, *_: object) -> float:
        return share_of_numpy(self.case.input_gradient)

    def track_weight_gradient(self, *_: object) -> float:
        return share_of_numpy(self.case.weight_gradient)
