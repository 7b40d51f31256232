"""Every public function, layer and model: seconds, and the peak of memory; `tests/test_coverage.py` has the list."""

from __future__ import annotations

from benchmarks.calls import FUNCTIONS, LAYERS, MODELS, Function, Model, OneLayer, kind_of
from benchmarks.cases import DTYPES, Case
from benchmarks.measure import THREADS, Timed, use_threads, warmed


class _OfAll(Timed):
    """A sample of each is enough: their kernels have benchmarks by shape."""

    kind: type[Case]
    repeat = (3, 10, 0.2)
    rounds = 1

    def setup(self, name: str, dtype: str, threads: int | str) -> None:
        use_threads(threads)
        self.case, self.reference = warmed(self.kind, name, dtype), kind_of(name)


class Functions(_OfAll):
    """Seconds of a call of each function."""

    kind = Function
    params = (tuple(FUNCTIONS), DTYPES, THREADS)
    param_names = ("function", "dtype", "threads")

    def time_call(self, *_: object) -> None:
        self.case.call()


class Layers(_OfAll):
    """Seconds of each layer's inference, and of its forward and backward pass in training."""

    kind = OneLayer
    params = (tuple(LAYERS), DTYPES, THREADS)
    param_names = ("layer", "dtype", "threads")

    def time_inference(self, *_: object) -> None:
        self.case.infer()

    def time_training(self, *_: object) -> None:
        self.case.train()


class Models(_OfAll):
    """Seconds of each model's inference and training step, of 16 images."""

    kind = Model
    params = (tuple(MODELS), DTYPES, THREADS)
    param_names = ("model", "dtype", "threads")

    def time_inference(self, *_: object) -> None:
        self.case.infer()

    def time_step(self, *_: object) -> None:
        self.case.step()


class FunctionsMemory:
    """The peak of a process that makes one call of each function."""

    params = (tuple(FUNCTIONS), DTYPES)
    param_names = ("function", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        self.case = Function(name, dtype)

    def peakmem_call(self, *_: object) -> None:
        self.case.call()


class ModelsMemory:
    """The peak of a process that makes one training step of each model."""

    params = (tuple(MODELS), DTYPES)
    param_names = ("model", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        self.case = Model(name, dtype)

    def peakmem_step(self, *_: object) -> None:
        self.case.step()
