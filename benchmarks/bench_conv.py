"""Convolution: times, memory, and ratios to the NumPy backend."""

from __future__ import annotations

from benchmarks import cases
from benchmarks.measure import THREADS, Timed, Tracked, compile_all, share_of_numpy, use_threads, warmed
from benchmarks.shapes import CONVS

NAMES = tuple(shape.name for shape in CONVS)
# NumPy takes up to a second for the others
SMALL = tuple(shape.name for shape in CONVS if shape.flops <= 2e8)


def setup_cache() -> None:
    """Compile in a process of its own: LLVM's memory would count in `peakmem_`."""
    compile_all("Conv", NAMES[0])


setup_cache.timeout = 300


class Conv(Timed):
    """Seconds of each pass in float32."""

    params = (NAMES, THREADS)
    param_names = ("shape", "threads")
    dtype = "float32"

    def setup(self, name: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("Conv", name, self.dtype)

    def time_forward(self, *_: object) -> None:
        self.case.forward()

    def time_input_gradient(self, *_: object) -> None:
        self.case.input_gradient()

    def time_weight_gradient(self, *_: object) -> None:
        self.case.weight_gradient()


class ConvDouble(Conv):
    """Seconds of each pass in float64, for the shapes that are soon done: the loops are the same."""

    params = (SMALL, THREADS)
    dtype = "float64"


class ConvMemory:
    """The peak of a process that makes one call: no im2col matrix may show here."""

    params = (NAMES,)
    param_names = ("shape",)

    def setup(self, name: str) -> None:
        # not warmed: the other calls' peaks would hide this one's
        self.case = cases.Conv(name, "float32")

    def peakmem_forward(self, *_: object) -> None:
        self.case.forward()

    def peakmem_input_gradient(self, *_: object) -> None:
        self.case.input_gradient()

    def peakmem_weight_gradient(self, *_: object) -> None:
        self.case.weight_gradient()


class ConvToNumpy(Tracked):
    """fastconv's time over the NumPy backend's in float32, all threads on both sides."""

    params = (SMALL,)
    param_names = ("shape",)

    def setup(self, name: str) -> None:
        self.case = warmed("Conv", name, "float32")

    def track_forward(self, *_: object) -> float:
        return share_of_numpy(self.case.forward)

    def track_input_gradient(self, *_: object) -> float:
        return share_of_numpy(self.case.input_gradient)

    def track_weight_gradient(self, *_: object) -> float:
        return share_of_numpy(self.case.weight_gradient)
