"""LeNet-5 in several libraries: what is asked, and what comes back."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.comparison import backends, compare_backends, compare_libraries, libraries, sides, table
from fastconv.optim import SGD
from fastconv.training import train_step


def test_libraries_take_turns(monkeypatch):
    monkeypatch.setattr(libraries, "SETTLE_SECONDS", 0)
    with fastconv.num_threads(1):
        found = compare_libraries(4, 1, ["fastconv", "NumPy, float32"])
    assert (found["batch_size"], found["threads"], found["epoch_images"]) == (4, 1, 400)
    assert found["versions"] == {"fastconv": fastconv.__version__}
    for name in ("fastconv", "NumPy, float32"):
        assert list(found["seconds"][name]) == list(sides.JOBS)
        assert all(seconds > 0 for seconds in found["seconds"][name].values())
    step = found["seconds"]["NumPy, float32"]["step"] / found["seconds"]["fastconv"]["step"]
    assert found["ratio"] == {"NumPy, float32": found["ratio"]["NumPy, float32"]}
    assert found["ratio"]["NumPy, float32"]["step"] == step
    lines = table(found).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "training step, 4 images" in lines[0] and "epoch, 400 images" in lines[0]
    assert lines[2].startswith("| fastconv ") and f"({step:.1f}x)" in lines[3]


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


@pytest.mark.parametrize("name", sides.installed())
def test_every_side_does_its_jobs(name):
    threads = fastconv.get_num_threads()
    jobs = sides.SIDES[name][1](threads, 2)
    assert set(jobs) <= set(sides.JOBS)
    assert np.shape(jobs["1 image"]()) in ((1, 10), (1, 1, 10))
    assert np.shape(jobs["256 images"]())[-2:] == (256, 10)
    if "step" in jobs:
        losses = [jobs["step"]() for _ in range(30)]
        assert losses[-1] < losses[0]  # it learns its two images, slowly


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
