"""im2col and col2im: times, memory, and ratios to the NumPy backend."""

from __future__ import annotations

from benchmarks import cases
from benchmarks.cases import DTYPES
from benchmarks.measure import THREADS, Timed, Tracked, compile_all, share_of_numpy, use_threads, warmed

# the others would fill hundreds of megabytes
NAMES = ("LeNet c1", "LeNet c2", "AlexNet c1")
ORDERS = ("rows", "cols", "unfold")


def setup_cache() -> None:
    """Compile in a process of its own: LLVM's memory would count in `peakmem_`."""
    compile_all("Im2col", NAMES[0])


setup_cache.timeout = 300


class Im2col(Timed):
    """Seconds in each order of the matrix."""

    reference = "copies"
    params = (NAMES, ORDERS, THREADS)
    param_names = ("shape", "order", "threads")

    def setup(self, name: str, order: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("Im2col", name, "float32", order)

    def time_im2col(self, *_: object) -> None:
        self.case.im2col()

    def time_col2im(self, *_: object) -> None:
        self.case.col2im()


class Im2colDouble(Timed):
    """Seconds in float64."""

    reference = "copies"
    params = (NAMES, THREADS)
    param_names = ("shape", "threads")

    def setup(self, name: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("Im2col", name, "float64")

    def time_im2col(self, *_: object) -> None:
        self.case.im2col()

    def time_col2im(self, *_: object) -> None:
        self.case.col2im()


class Im2colMemory:
    """The peak of a process that makes one call."""

    params = (NAMES, DTYPES)
    param_names = ("shape", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        self.case = cases.Im2col(name, dtype)

    def peakmem_im2col(self, *_: object) -> None:
        self.case.im2col()


class Im2colToNumpy(Tracked):
    """fastconv's time over the NumPy backend's in float32, all threads on both sides."""

    params = (NAMES,)
    param_names = ("shape",)

    def setup(self, name: str) -> None:
        self.case = warmed("Im2col", name, "float32")

    def track_im2col(self, *_: object) -> float:
        return share_of_numpy(self.case.im2col)

    def track_col2im(self, *_: object) -> float:
        return share_of_numpy(self.case.col2im)
