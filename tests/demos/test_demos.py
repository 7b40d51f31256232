"""The demonstrations: their numbers, what they print, their pictures."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from fastconv import convolve2d, correlate2d
from fastconv.cli import main
from fastconv.demos import DEMOS, edges, filters, learn_kernel, xo

PICTURES = {
    "xo": {"image", "kernel", "convolution", "max-pooling", "relu"},
    "edges": {"image", "kernel", "vertical-edges", "horizontal-edges"},
    "learn-kernel": {"kernels"},
    "filters": {"by-hand", "before", "after"},
    "feature-maps": {"maps"},
}


def plain_maps():
    """Convolution, pooling and ReLU of the X in loops over single numbers."""
    image, kernels = xo.image(), xo.kernels()
    maps, pooled, relu = np.zeros((3, 7, 7)), np.zeros((3, 4, 4)), np.zeros((3, 7, 7))
    for i, kernel in enumerate(kernels):
        for y in range(7):
            for x in range(7):
                total = 0.0
                for ky in range(3):
                    for kx in range(3):
                        total += image[y + ky, x + kx] * kernel[ky, kx]
                maps[i, y, x] = total / 9
                relu[i, y, x] = max(maps[i, y, x], 0.0)
        for y in range(4):
            for x in range(4):
                cells = [(2 * y + dy, 2 * x + dx) for dy in (0, 1) for dx in (0, 1)]
                pooled[i, y, x] = max(maps[i, a, b] if a < 7 and b < 7 else 0.0 for a, b in cells)
    return maps, pooled, relu


def test_the_x_and_its_maps():
    ninths = (9 * xo.maps().convolution).round(12)
    assert xo.image().sum() == 2 * 13 - 81
    assert ninths[0, 0].tolist() == [7, -1, 1, 3, 5, -1, 3]
    assert ninths[1, 0].tolist() == [3, -5, 1, -1, 1, -5, 3]
    assert ninths[1, 3].tolist() == [-1, 3, -7, 9, -7, 3, -1]
    np.testing.assert_array_equal(ninths[2], ninths[0][:, ::-1])


def test_the_x_pooled():
    """Padded with one zero row and column at the bottom and on the right."""
    ninths = (9 * xo.maps().pooled).round(12)
    assert ninths[0].tolist() == [[9, 3, 5, 3], [3, 9, 3, 5], [5, 3, 9, 1], [3, 5, 1, 7]]
    assert ninths[1].tolist() == [[5, 3, 5, 3], [3, 9, 5, 1], [5, 5, 5, 1], [3, 1, 1, 3]]
    assert ninths[2].tolist() == [[3, 5, 9, 7], [5, 5, 9, 3], [9, 9, 1, 5], [7, 3, 5, 3]]


def test_the_x_after_relu():
    assert xo.maps().relu.sum(axis=(1, 2)).round(4).tolist() == [12.5556, 9.0, 12.5556]


def test_layers_give_what_plain_loops_give():
    for found, expected in zip(xo.maps(), plain_maps()):
        np.testing.assert_array_equal(found, expected)


def test_edge_detection():
    image = edges.image()
    assert image.shape == (6, 8)
    assert (image == 0).sum() == 5 * 4
    vertical, horizontal = edges.edges()
    for row in (0, 1, 3, 4, 5):
        assert vertical[row].tolist() == [0, 1, 0, 0, 0, -1, 0]
    assert not vertical[2].any()
    expected = np.zeros((5, 8))
    expected[1, 2:6], expected[2, 2:6] = -1, 1
    np.testing.assert_array_equal(horizontal, expected)


def test_the_learnt_kernel():
    """1 x 2, no bias, 20 steps, rate 0.02, sum of squares, from zeros, printed every 2 steps."""
    lines = DEMOS["learn-kernel"]("en").lines
    losses = "6.400 2.621 1.074 0.440 0.180 0.074 0.030 0.012 0.005 0.002".split()
    assert lines[:10] == [f"epoch {2 * i}, loss {loss}" for i, loss in enumerate(losses, 1)]
    assert lines[10] == "weights 0.98847 -0.98847"
    assert learn_kernel.learn()[1].round(5).tolist() == [[0.98847, -0.98847]]


def test_both_definitions_of_convolution():
    """With the kernel flipped and without it, as NumPy's in one dimension."""
    rng = np.random.default_rng(0)
    signal, kernel = rng.integers(-4, 5, 9).astype(float), rng.integers(-4, 5, 4).astype(float)
    for mode in ("valid", "same", "full"):
        np.testing.assert_array_equal(
            convolve2d(signal[None], kernel[None], mode)[0], np.convolve(signal, kernel, mode)
        )
    for mode in ("valid", "full"):
        found = correlate2d(signal[None], kernel[None], mode)[0]
        np.testing.assert_array_equal(found, np.correlate(signal, kernel, mode))


def test_a_moving_average():
    np.testing.assert_allclose(filters.moving_average(np.array([3.0, 6.0, 9.0, 0.0])), [6, 5], rtol=1e-14)


@pytest.fixture
def run(capsys):
    def call(*words):
        code = main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return call


def test_the_command_prints_the_maps(run):
    code, out, err = run("demo", "xo")
    assert (code, err) == (0, "")
    assert "   0.78 -0.11  0.11  0.33  0.56 -0.11  0.33" in out.splitlines()
    assert "ReLU X, sum 9.0000 (7 x 7)" in out
    code, out, err = run("demo", "xo", "--language", "zh")
    assert (code, err) == (0, "")
    assert "ReLU X, 总和 9.0000 (7 x 7)" in out


@pytest.mark.parametrize("name", DEMOS)
def test_pictures(name, run, tmp_path):
    """As files, one for each; titles in Chinese where there is a font, without a warning where there is none."""
    pytest.importorskip("matplotlib")
    code, out, err = run("demo", name, "--out", tmp_path / "a" / "b", "--language", "zh", "--json")
    assert (code, err) == (0, "")
    row = json.loads(out)
    assert row["demo"] == name
    files = {tmp_path / "a" / "b" / f"{name}-{stem}.png" for stem in PICTURES[name]}
    assert set(map(str, files)) == set(row["files"])
    assert set((tmp_path / "a" / "b").iterdir()) == files
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    if "test_accuracy" in row:
        assert row["test_accuracy"] > 0.85


def test_windows(run, monkeypatch):
    """Without a screen an error says so; with one each picture gets a window."""
    matplotlib = pytest.importorskip("matplotlib")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = matplotlib.get_backend()
    pyplot.switch_backend("agg")
    code, out, err = run("demo", "edges", "--show")
    assert (code, out) == (1, "")
    assert "--show needs a screen" in err
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.extend(map(pyplot.figure, pyplot.get_fignums())))
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "TkAgg")
    assert run("demo", "edges", "--show")[0] == 0
    assert len(shown) == 4
    assert all(len(window.images) == 1 for window in shown)
    pyplot.close("all")
    monkeypatch.undo()
    pyplot.switch_backend(before)


@pytest.mark.parametrize("words", [("--out", "pictures"), ("--show",)])
def test_pictures_without_matplotlib(run, tmp_path, monkeypatch, words):
    """Which is told before anything is printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = run("demo", "edges", *words)
    assert (code, out) == (1, "") and "fastconv[plot]" in err
    assert not list(tmp_path.iterdir())


def test_an_unknown_demo(run, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("demo", "yo")
    assert stopped.value.code == 2
    assert "learn-kernel" in capsys.readouterr().err
