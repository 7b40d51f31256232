"""The same network and the same jobs in each library: a training step, an epoch, inference of one image and of many."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from fastconv._runtime.backend import use_backend
from fastconv.comparison.networks import Network
from fastconv.comparison.torch_model import torch_twin
from fastconv.optim import SGD
from fastconv.training import fit, train_step

# as good as no change: a network that knows its few images by heart has gradients that are denormal, and slow
LR, MOMENTUM = 1e-6, 0.9
EPOCH_BATCHES = 100

Jobs: TypeAlias = dict[str, Callable[[], Any]]


def _data(network: Network, count: int, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((count, *network.image_shape)).astype(dtype), rng.integers(0, 10, count)


def _images(network: Network, batch_size: int) -> int:
    """How many images training needs."""
    return batch_size * (EPOCH_BATCHES if network.epoch else 1)


def _own(backend: str, dtype: DTypeLike, network: Network, batch_size: int) -> Jobs:
    model = network.make(rng=0, dtype=dtype)
    optimizer = SGD(model.parameters(), LR, MOMENTUM)
    x, labels = _data(network, _images(network, batch_size), dtype)
    images = _data(network, network.images, dtype)[0]

    def on_backend(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with use_backend(backend):
                return call()

        return call if backend == "numba" else run

    calls = (
        lambda: train_step(model, x[:batch_size], labels[:batch_size], optimizer),
        lambda: fit(model, (x, labels), optimizer=optimizer, batch_size=batch_size, rng=0),
        lambda: model(images[:1]),
        lambda: model(images),
    )
    return {name: on_backend(call) for name, call in _named(network, *calls).items()}


def _named(
    network: Network, step: Callable[[], Any], epoch: Callable[[], Any], one: Callable[[], Any], many: Callable[[], Any]
) -> Jobs:
    return dict(zip(network.jobs, (step, epoch, one, many) if network.epoch else (step, one, many)))


def _torch(network: Network, threads: int, batch_size: int) -> Jobs:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    model = torch_twin(network.make(rng=0))
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM)
    x, labels = (torch.from_numpy(a) for a in _data(network, _images(network, batch_size), "float32"))
    images = torch.from_numpy(_data(network, network.images, "float32")[0])

    def step(x: Any, labels: Any) -> float:
        if not model.training:
            model.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def epoch() -> None:
        order = torch.randperm(len(x))
        for first in range(0, len(x), batch_size):
            chosen = order[first : first + batch_size]
            step(x[chosen], labels[chosen])

    def inference(images: Any) -> Any:
        if model.training:
            model.eval()
        with torch.inference_mode():
            return model(images)

    return _named(
        network, lambda: step(x[:batch_size], labels[:batch_size]), epoch, lambda: inference(images[:1]),
        lambda: inference(images),
    )  # fmt: skip


def _onnxruntime(network: Network, threads: int, batch_size: int) -> Jobs:
    runtime = importlib.import_module("onnxruntime")
    export = importlib.import_module("fastconv.onnx").export
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export(network.make(rng=0), path, (1, *network.image_shape))
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    images, name = _data(network, network.images, "float32")[0], session.get_inputs()[0].name
    one, many = network.jobs[-2:]
    return {
        one: lambda: session.run(None, {name: images[:1]}),
        many: lambda: session.run(None, {name: images}),
    }


class Side(NamedTuple):
    """A library: what must be installed, its jobs for (network, threads, batch_size), and whether it compiles nothing.

    Attributes:
        needed: the modules that it imports.
        jobs: by name; their first calls compile, or allocate what later ones take again.
        trains: whether it can.
        steady: whether a first call takes as long as any.
    """

    needed: tuple[str, ...]
    jobs: Callable[[Network, int, int], Jobs]
    trains: bool = True
    steady: bool = False


SIDES: dict[str, Side] = {
    "fastconv": Side((), lambda network, threads, size: _own("numba", "float32", network, size)),
    "NumPy, float64": Side((), lambda network, threads, size: _own("numpy", "float64", network, size), steady=True),
    "NumPy, float32": Side((), lambda network, threads, size: _own("numpy", "float32", network, size), steady=True),
    "PyTorch": Side(("torch",), _torch),
    "ONNX Runtime": Side(("onnxruntime", "onnx"), _onnxruntime, trains=False),
}


def installed() -> list[str]:
    """The sides whose libraries are there."""
    return [name for name, side in SIDES.items() if all(map(importlib.util.find_spec, side.needed))]
