"""The same LeNet-5 and the same jobs in each library: a training step, an epoch, inference of one image and of many."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from fastconv._runtime.backend import use_backend
from fastconv.models import lenet5
from fastconv.optim import SGD
from fastconv.training import fit, train_step

# as good as no change: a network that knows its few images by heart has gradients that are denormal, and slow
LR, MOMENTUM = 1e-6, 0.9
EPOCH_BATCHES = 100
JOBS = ("step", "epoch", "1 image", "256 images")

Jobs: TypeAlias = dict[str, Callable[[], Any]]


def _data(count: int, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((count, 1, 28, 28)).astype(dtype), rng.integers(0, 10, count)


def _own(backend: str, dtype: DTypeLike, batch_size: int) -> Jobs:
    model = lenet5(rng=0, dtype=dtype)
    optimizer = SGD(model.parameters(), LR, MOMENTUM)
    x, labels = _data(EPOCH_BATCHES * batch_size, dtype)
    images = _data(256, dtype)[0]

    def on_backend(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with use_backend(backend):
                return call()

        return call if backend == "numba" else run

    jobs: Jobs = {
        "step": lambda: train_step(model, x[:batch_size], labels[:batch_size], optimizer),
        "epoch": lambda: fit(model, (x, labels), optimizer=optimizer, batch_size=batch_size, rng=0),
        "1 image": lambda: model(images[:1]),
        "256 images": lambda: model(images),
    }
    return {name: on_backend(call) for name, call in jobs.items()}


def _torch(threads: int, batch_size: int) -> Jobs:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM)
    x, labels = (torch.from_numpy(a) for a in _data(EPOCH_BATCHES * batch_size, "float32"))
    images = torch.from_numpy(_data(256, "float32")[0])

    def step(x: Any, labels: Any) -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def epoch() -> None:
        order = torch.randperm(len(x))
        for first in range(0, len(x), batch_size):
            chosen = order[first : first + batch_size]
            step(x[chosen], labels[chosen])

    def inference(images: Any) -> Any:
        with torch.inference_mode():
            return model(images)

    return {
        "step": lambda: step(x[:batch_size], labels[:batch_size]),
        "epoch": epoch,
        "1 image": lambda: inference(images[:1]),
        "256 images": lambda: inference(images),
    }


def _onnxruntime(threads: int) -> Jobs:
    runtime = importlib.import_module("onnxruntime")
    export = importlib.import_module("fastconv.onnx").export
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lenet5.onnx"
        export(lenet5(rng=0), path, (1, 1, 28, 28))
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    images, name = _data(256, "float32")[0], session.get_inputs()[0].name
    return {
        "1 image": lambda: session.run(None, {name: images[:1]}),
        "256 images": lambda: session.run(None, {name: images}),
    }


# name: (what must be installed, the jobs for (threads, batch_size))
SIDES: dict[str, tuple[tuple[str, ...], Callable[[int, int], Jobs]]] = {
    "fastconv": ((), lambda threads, batch_size: _own("numba", "float32", batch_size)),
    "NumPy, float64": ((), lambda threads, batch_size: _own("numpy", "float64", batch_size)),
    "NumPy, float32": ((), lambda threads, batch_size: _own("numpy", "float32", batch_size)),
    "PyTorch": (("torch",), _torch),
    "ONNX Runtime": (("onnxruntime", "onnx"), lambda threads, batch_size: _onnxruntime(threads)),
}


def installed() -> list[str]:
    """The sides whose libraries are there."""
    return [name for name, (needed, _) in SIDES.items() if all(map(importlib.util.find_spec, needed))]
