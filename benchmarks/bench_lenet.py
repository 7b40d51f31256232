"""LeNet-5: a training step, an epoch, inference."""

from __future__ import annotations

from benchmarks import cases
from benchmarks.cases import BATCH, DTYPES
from benchmarks.measure import THREADS, Timed, Tracked, compile_all, share_of_numpy, use_threads, warmed


def setup_cache() -> None:
    """Compile in a process of its own: LLVM's memory would count in `peakmem_`."""
    compile_all("LeNet")


setup_cache.timeout = 300


class Step(Timed):
    """Seconds of a training step of 64 images."""

    params = (DTYPES, THREADS)
    param_names = ("dtype", "threads")

    def setup(self, dtype: str, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("LeNet", dtype)

    def time_step(self, *_: object) -> None:
        self.case.step()


class Epoch(Timed):
    """Seconds of an epoch over the 1,437 embedded digits in batches of 64."""

    params = (THREADS,)
    param_names = ("threads",)
    repeat = (2, 5, 2.0)

    def setup(self, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("LeNet", "float32")

    def time_epoch(self, *_: object) -> None:
        self.case.epoch()


class Inference(Timed):
    """Seconds for a batch of images."""

    params = ((1, 256), THREADS)
    param_names = ("images", "threads")

    def setup(self, images: int, threads: int | str) -> None:
        use_threads(threads)
        self.case = warmed("LeNet", "float32", images)

    def time_infer(self, *_: object) -> None:
        self.case.infer()


class StepMemory:
    """The peak of a process that takes one step."""

    params = (DTYPES,)
    param_names = ("dtype",)

    def setup(self, dtype: str) -> None:
        self.case = cases.LeNet(dtype, BATCH)

    def peakmem_step(self, *_: object) -> None:
        self.case.step()


class StepToNumpy(Tracked):
    """The time of a float32 step over that of the NumPy backend's step, all threads on both sides."""

    params = (("float64", "float32"),)
    param_names = ("dtype of NumPy",)

    def setup(self, dtype: str) -> None:
        self.fast, self.slow = warmed("LeNet", "float32"), cases.LeNet(dtype)

    def track_step(self, *_: object) -> float:
        return share_of_numpy(self.fast.step, self.slow.step)
