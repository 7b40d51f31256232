"""Networks in several libraries: what is asked, and what comes back."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from strategies import real

import fastconv
from fastconv import nn
from fastconv.comparison import __main__ as process
from fastconv.comparison import (
    backends,
    compare_backends,
    compare_libraries,
    libraries,
    memory,
    networks,
    sides,
    table,
    torch_model,
)
from fastconv.errors import UnsupportedError
from fastconv.models import MODELS, resnet20
from fastconv.optim import SGD
from fastconv.training import train_step


def test_libraries_take_turns(monkeypatch):
    monkeypatch.setattr(libraries, "SETTLE_SECONDS", 0)
    with fastconv.num_threads(1):
        found = compare_libraries(4, 1, ["fastconv", "NumPy, float32"])
    assert (found["batch_size"], found["threads"], found["epoch_images"]) == (4, 1, 400)
    assert (found["model"], found["title"]) == ("lenet5", "LeNet-5")
    assert found["versions"] == {"fastconv": fastconv.__version__}
    for name in ("fastconv", "NumPy, float32"):
        assert list(found["seconds"][name]) == ["step", "epoch", "1 image", "256 images"]
        assert all(seconds > 0 for seconds in found["seconds"][name].values())
    step = found["seconds"]["NumPy, float32"]["step"] / found["seconds"]["fastconv"]["step"]
    assert found["ratio"] == {"NumPy, float32": found["ratio"]["NumPy, float32"]}
    assert found["ratio"]["NumPy, float32"]["step"] == step
    lines = table(found).splitlines()
    assert len({len(line) for line in lines}) == 1
    header = "| LeNet-5        | training step, 4 images | epoch, 400 images | inference, 1 image |"
    assert lines[0] == f"{header} inference, 256 images |"
    assert lines[2].startswith("| fastconv ") and f"({step:.1f}x)" in lines[3]


def test_the_memory_of_a_step(monkeypatch):
    """In processes of its own, whatever this one has needed; at least that of the weights and their momentum."""
    monkeypatch.setattr(libraries, "SETTLE_SECONDS", 0)
    there = np.ones(30_000_000)  # what a process begins with, if it is counted from the one that starts it
    found = compare_libraries(2, 1, ["fastconv", "NumPy, float32"], "mnist-cnn")
    weights = 1_199_882 * 4
    for name in ("fastconv", "NumPy, float32"):
        assert 3 * weights < found["memory"][name] < there.nbytes
    lines = table(found).splitlines()
    assert lines[0].startswith("| mnist-cnn ") and lines[0].endswith(" | memory of a step |")
    own, other = (found["memory"][name] for name in ("fastconv", "NumPy, float32"))
    assert lines[2].endswith(f" {own / 1e6:.0f} MB |")
    assert lines[3].endswith(f" {other / 1e6:.0f} MB ({other / own:.1f}x) |")
    assert "epoch" not in lines[0] and list(found["seconds"]["fastconv"]) == ["step", "1 image", "256 images"]


def test_the_peak_of_a_process_where_the_system_does_not_tell(monkeypatch, tmp_path):
    grown = np.ones(20_000_000)
    assert memory.peak_bytes() > grown.nbytes
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    assert memory.peak_bytes() > grown.nbytes  # by getrusage
    monkeypatch.setattr(memory.importlib.util, "find_spec", lambda name: None)
    assert memory.peak_bytes() is None


@pytest.mark.parametrize("steady, seconds, answer, count", [
    (True, [2, 1, 1], 2, 1),  # nothing is compiled in a first call that takes so long: it is the figure
    (False, [2, 0.9, 0.5, 0.3], 0.4, 4), (True, [0.9, 0.9, 0.5, 0.3], 0.4, 4),
    (False, [9, 0.05, 0.1, 0.1, 0.3, 0.7], 0.5, 6),
])  # fmt: skip
def test_what_is_measured_of_a_job(monkeypatch, capsys, steady, seconds, answer, count):
    """The median of two calls or more, after the first and after those of a process that has rested."""
    now, calls = [0.0], []

    def call():
        now[0] += seconds[len(calls)]
        calls.append(now[0])

    monkeypatch.setattr(process, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(process, "sys", SimpleNamespace(stdin=['"step"'], stdout=sys.stdout))
    side = sides.Side((), lambda *_: {"step": call}, steady=steady)
    process.times(side, networks.NETWORKS["lenet5"], 1, 2)
    jobs, found = map(json.loads, capsys.readouterr().out.splitlines())
    assert jobs == ["step"] and found == pytest.approx(answer) and len(calls) == count


def test_a_process_that_ends_is_told():
    with pytest.raises(RuntimeError, match="bench: the process for abacus ended with code 1"):
        compare_libraries(4, 1, ["abacus"])


def test_an_interrupt_ends_the_other_processes(monkeypatch):
    """They are not of the terminal's group, so that they do not answer Ctrl-C each with a traceback."""
    started = []

    class Process(subprocess.Popen):
        def __init__(self, *words, **options):
            started.append((self, options["start_new_session"]))
            super().__init__(*words, **options)

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(libraries.subprocess, "Popen", Process)
    monkeypatch.setattr(libraries._Side, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare_libraries(4, 1, ["fastconv"])
    ((process, apart),) = started
    assert apart and process.returncode not in (None, 0)  # ended, not waited for


NARROW = networks.NETWORKS["lenet5"]._replace(
    make=functools.partial(resnet20, blocks=1, width=8), image_shape=(3, 16, 16), images=6, epoch=False
)


@pytest.mark.parametrize("network", [networks.NETWORKS["lenet5"], NARROW], ids=["lenet5", "resnet"])
@pytest.mark.parametrize("name", sides.installed())
def test_every_side_does_its_jobs(name, network):
    threads = fastconv.get_num_threads()
    jobs, own = (sides.SIDES[side].jobs(network, threads, 2) for side in (name, "fastconv"))
    assert list(jobs) == list(network.jobs if sides.SIDES[name].trains else network.jobs[-2:])
    assert np.shape(jobs["1 image"]()) in ((1, 10), (1, 1, 10))
    many = f"{network.images} images"
    assert np.shape(jobs[many]())[-2:] == (network.images, 10)
    if "step" in jobs:
        losses = [jobs["step"]() for _ in range(30)]
        assert losses[-1] < losses[0]  # it learns its two images, slowly
        np.testing.assert_allclose(losses, [own["step"]() for _ in range(30)], rtol=1e-3)
    # inference, by the statistics of all steps
    expected = own["1 image"]()
    found = np.asarray(jobs["1 image"]()).reshape(1, 10)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_every_model_can_be_compared():
    assert set(networks.NETWORKS) == {*MODELS, "small-resnet-wide"}
    for name, network in networks.NETWORKS.items():
        model = network.make(rng=0)
        assert model.output_shape((1, *network.image_shape)) == (1, 10)
        assert network.jobs[0] == "step" and network.jobs[-2] == "1 image"
        assert ("epoch" in network.jobs) == name.startswith("lenet5")
    sizes = {name: network.batch_size for name, network in networks.NETWORKS.items() if network.batch_size != 64}
    assert sizes == {"deep-convnet": 100, "mnist-cnn": 128, "vgg-small": 16}
    wide = networks.NETWORKS["small-resnet-wide"].make(rng=0)
    blocks = [
        layer.output_shape((1, C, 8, 8))[1] for C, layer in zip((16, 16, 32, 64), (wide[i] for i in (3, 5, 7, 9)))
    ]
    assert blocks == [16, 32, 64, 64] and sum(isinstance(layer, nn.Residual) for layer in wide) == 4


def test_sides_that_are_not_installed_are_left_out(monkeypatch):
    there = {"torch": object(), "onnx": None, "onnxruntime": object()}
    monkeypatch.setattr(sides.importlib.util, "find_spec", there.__getitem__)
    assert sides.installed() == ["fastconv", "NumPy, float64", "NumPy, float32", "PyTorch"]


@pytest.mark.parametrize("dtype, numpys", [("float32", ["float32", "float64"]), ("float64", ["float64"])])
def test_backends(monkeypatch, dtype, numpys):
    asked = []

    def seconds(backend, dtype, make, x, labels, steps, **clip):
        asked.append((backend, dtype, make, len(x), len(labels), clip))
        return {"numba": 1e-3, "numpy": 5e-3}[backend]

    monkeypatch.setattr("fastconv.comparison.backends.step_seconds", seconds)
    make, x, labels = object(), np.zeros((8, 1, 28, 28), dtype), np.zeros(8, np.int64)
    found = compare_backends(make, x, labels, rounds=1, clip_norm=1.0)
    # the kernels in the dtype of the training alone: nothing is compiled
    assert [side[:2] for side in asked] == [("numba", dtype), *(("numpy", name) for name in numpys)]
    assert all(side[2:] == (make, 8, 8, {"clip_norm": 1.0}) for side in asked)
    assert (found["batch_size"], found["dtype"], found["numba"]) == (8, dtype, 1e-3)
    for name in numpys:
        assert found[f"ratio_{name}"] == pytest.approx(5) and found[f"numpy_{name}"] == 5e-3


def test_the_steps_of_a_backend(monkeypatch):
    """Of the model that is made, with its weights left as they are; few where a step takes long."""
    steps, made = [], []

    def make(dtype):
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, rng=0, dtype=dtype))
        made.append((model, model.state_dict()["1.weight"].copy()))
        return model, SGD(model.parameters(), 0.5)

    def step(model, x, labels, optimizer, **options):
        steps.append((model, fastconv.get_backend(), x.dtype.name, options))
        return train_step(model, x, labels, optimizer, **options)

    monkeypatch.setattr(backends, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(backends, "train_step", step)
    x, labels = np.ones((2, 4), np.float32), np.array([0, 1])
    assert backends.step_seconds("numpy", "float64", make, x, labels, 2, clip_value=1.0) > 0
    ((model, weight),) = made
    assert steps == [(model, "numpy", "float64", {"lr_factor": 0.0, "clip_value": 1.0})] * (1 + 3 + 2)
    np.testing.assert_array_equal(model.state_dict()["1.weight"], weight)
    monkeypatch.setattr(backends, "MOST_SECONDS", 0)
    assert backends.step_seconds("numpy", "float64", make, x, labels, 2) > 0
    assert len(steps) == 6 + 1
    assert backends.step_seconds("numba", "float32", make, x, labels, 2) > 0
    assert len(steps) == 6 + 1 + 2
    asked = []
    monkeypatch.setattr(backends, "step_seconds", lambda backend, *_, **__: asked.append(backend) or 2.0)
    compare_backends(make, x, labels, rounds=3)
    assert asked == ["numba", "numpy", "numpy"]


# a layer of each kind that has a counterpart, with options that are not the usual ones
LAYERS = (
    nn.Conv2d(4, 6, (3, 2), 2, 1, 1, 2, rng=0), nn.Conv2d(4, 6, 3, 1, "same", bias=False, rng=0),
    nn.PartialConv2d(np.arange(24).reshape(6, 4) % 3 > 0, 3, rng=0), nn.BatchNorm2d(4, 0.1, 0.3),
    nn.BatchNorm2d(4, affine=False, momentum=None), nn.LocalResponseNorm(3, 0.5, 0.6, 2.0),
    nn.MaxPool2d(3, 2, 1, 2, True), nn.AvgPool2d(3, 2, 1, True, False), nn.GlobalAvgPool2d(), nn.Flatten(), nn.ReLU(),
    nn.ReLU6(), nn.LeakyReLU(0.3), nn.Sigmoid(), nn.Tanh(), nn.Softmax(1), nn.Dropout(0.0),
    nn.Sequential(nn.Flatten(), nn.Linear(324, 5, bias=False, rng=0)),
    nn.Residual(nn.Conv2d(4, 5, 1, rng=0), nn.Conv2d(4, 5, 1, rng=1)), nn.Residual(nn.Tanh()),
)  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_layer_s_twin_in_pytorch(layer):
    """The same in training, in inference afterwards, and the same gradient of the input."""
    torch = pytest.importorskip("torch")
    model = nn.Sequential(nn.Conv2d(4, 4, 1, rng=3), layer)
    twin = torch_model.torch_twin(model)
    x = real(np.random.default_rng(0), (3, 4, 9, 9), np.float32)
    given = torch.from_numpy(x).requires_grad_()
    y, backward = model.forward(x)
    found = twin.train()(given)
    grad = real(np.random.default_rng(1), y.shape, np.float32)
    found.backward(torch.from_numpy(grad))
    for ours, theirs in ((y, found), (backward(grad), given.grad), (model(x), twin.eval()(given))):
        np.testing.assert_allclose(theirs.detach().numpy(), ours, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_network_s_twin_in_pytorch(name):
    torch = pytest.importorskip("torch")
    network = networks.NETWORKS[name]
    model = network.make(rng=0)
    twin = torch_model.torch_twin(model)
    x = real(np.random.default_rng(0), (2, *network.image_shape), np.float32)
    y = model(x)
    np.testing.assert_allclose(twin.eval()(torch.from_numpy(x)).detach(), y, rtol=0, atol=1e-4 * np.abs(y).max())
    count = sum(p.numel() for p in twin.parameters())
    # a convolution with a table of connections has all weights in PyTorch
    assert count - sum(p.value.size for p in model.parameters()) == (900 if name == "lenet5-classic" else 0)


def test_what_is_not_connected_does_not_learn_in_pytorch():
    torch = pytest.importorskip("torch")
    connections = np.arange(24).reshape(6, 4) % 3 > 0
    twin = torch_model.torch_twin(nn.PartialConv2d(connections, 3, rng=0))
    optimizer = torch.optim.SGD(twin.parameters(), 0.1, 0.9)
    before = twin.weight.detach().clone()
    for _ in range(2):
        twin(torch.ones(1, 4, 5, 5)).square().sum().backward()
        optimizer.step()
    changed = (twin.weight.detach() != before).numpy().any((2, 3))
    np.testing.assert_array_equal(changed, connections)


def test_layers_without_a_twin_are_named():
    pytest.importorskip("torch")

    class Twice(nn.ReLU):
        pass

    with pytest.raises(UnsupportedError, match=r"there is no counterpart of Twice\(\)"):
        torch_model.torch_twin(nn.Sequential(Twice()))
    with pytest.raises(UnsupportedError, match="there is no counterpart of ConvTranspose2d"):
        torch_model.torch_twin(nn.ConvTranspose2d(1, 1, 2))
    with pytest.raises(UnsupportedError, match="PyTorch has no padding 'same_upper'"):
        torch_model.torch_twin(nn.Conv2d(1, 1, 2, padding="same_upper"))
