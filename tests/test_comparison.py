"""LeNet-5 in several libraries: what is asked, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv.comparison import compare_backends, compare_libraries, libraries, sides, table


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


def test_backends(monkeypatch):
    asked = []

    def seconds(backend, dtype, batch_size, steps):
        asked.append((backend, dtype, batch_size))
        return {"numba": 1e-3, "numpy": 5e-3}[backend]

    monkeypatch.setattr("fastconv.comparison.backends.step_seconds", seconds)
    found = compare_backends(8, rounds=1)
    assert len(asked) == 4 and {batch_size for *_, batch_size in asked} == {8}
    assert found["ratio_float64"] == pytest.approx(5) and found["numpy_float32"] == 5e-3
