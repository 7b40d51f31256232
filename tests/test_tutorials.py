"""The tutorials' code that fastconv is measured against is right, and what is measured reaches RESULTS.md."""

from __future__ import annotations

import json

import numpy as np
import pytest
from strategies import integers

from benchmarks import original_script, originals, tutorials
from benchmarks.by_hand import IndexedConv, LoopedLeNet
from fastconv import nn, reference
from fastconv.models import MODELS, lenet5_by_hand

RESULTS = {
    "speed": {name: {"tutorial": 2e-3, "changed": 2e-4, "model": 1e-5} for name in tutorials.CODES},
    "training": {
        t.name: [{"epoch": 1, "train_loss": 1.0, "test_loss": 0.5, "test_accuracy": 0.875, "seconds": 3.0}]
        for t in tutorials.TRAININGS
    },
}


def test_indexed_columns_are_a_convolution():
    rng = np.random.default_rng(0)
    x, weight, g = (integers(rng, shape, np.float64) for shape in ((2, 3, 6, 5), (4, 3, 3, 3), (2, 4, 6, 5)))
    y, grad_weight, grad_x = IndexedConv(weight).step(x, g)
    expected = reference.conv2d_backward(g, x, weight, 1, 1)
    np.testing.assert_array_equal(y, reference.conv2d(x, weight, None, 1, 1))
    np.testing.assert_array_equal(grad_weight, expected[1])
    np.testing.assert_array_equal(grad_x, expected[0])


def test_loops_are_the_model():
    rng, model = np.random.default_rng(0), lenet5_by_hand(rng=0, dtype=np.float64)
    x, ids = rng.random((2, 28, 28, 1)), np.array([3, 7])
    conv1, conv2, dense1, dense2 = (p.value for p in model.parameters())
    weights = [conv1.transpose(0, 2, 3, 1), conv2.transpose(0, 2, 3, 1), dense1.T, dense2.T]
    found = LoopedLeNet(weights).gradients(x, np.eye(10)[ids])
    logits, backward = model.forward_from_data(x.transpose(0, 3, 1, 2))
    backward(reference.cross_entropy(logits, ids)[1])
    conv1, conv2, dense1, dense2 = (p.grad for p in model.parameters())
    for ours, theirs in zip((conv1.transpose(0, 2, 3, 1), conv2.transpose(0, 2, 3, 1), dense1.T, dense2.T), found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("training", tutorials.TRAININGS, ids=lambda training: training.name)
def test_optimisers_of_the_tutorials(training):
    """Each changes every parameter; of TensorFlow's twin only the dense layers decay."""
    model = MODELS[training.name](rng=0)
    optimizer = training.optimizer(model)
    assert {id(p) for p in optimizer.parameters} == {id(p) for p in model.parameters()}
    before = [p.value.copy() for p in model.parameters()]
    optimizer.step()  # without gradients
    decayed = [not np.array_equal(p.value, old) for p, old in zip(model.parameters(), before)]
    weights = [isinstance(layer, nn.Linear) for layer in model for _ in layer.parameters()]
    biases = [p.name == "bias" for p in model.parameters()]  # are zero
    twin = training.name == "lenet5-tensorflow"
    assert decayed == [twin and dense and not bias for dense, bias in zip(weights, biases)]


def test_results_reach_their_page(tmp_path, capsys):
    """What has been measured is not measured again."""
    path, results, curve = tmp_path / "RESULTS.md", tmp_path / "results.json", tmp_path / "curve.png"
    path.write_text(f"before\n{tutorials.SECTION.begin}\nold\n{tutorials.SECTION.end}\nafter\n")
    results.write_text(json.dumps(RESULTS))
    pytest.importorskip("matplotlib")
    words = ["--results", str(results), "--write", str(path), "--curve", str(curve)]
    assert tutorials.main(words) == 0
    printed = capsys.readouterr().out
    assert path.read_text() == f"before\n{tutorials.SECTION.begin}\n{printed}{tutorials.SECTION.end}\nafter\n"
    assert "2.00 ms | **10x** 0.200 ms | **200x** 0.010 ms" in printed
    assert "**87.50%**, 1 epoch |" in printed
    assert curve.read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_to(tmp_path, capsys):
    assert tutorials.main(["--write", str(tmp_path / "none.md")]) == 1
    assert "none.md" in capsys.readouterr().err


SCRIPT = """
from mlfromscratch.deep_learning.layers import determine_padding
import matplotlib.pyplot as plt
import numpy as np

plt.plot(np.random.rand(3))
plt.show()
print("padding", determine_padding((3, 3)), "loss:", 0.25, "times", 1e-3)
"""


def checkout(folder, source=SCRIPT):
    """A repository as ML-From-Scratch's, with a library and a script of our own."""
    for path, text in {
        "deep_learning/layers.py": "def determine_padding(shape):\n    return (1, 1), (1, 1)\n",
        "examples/convolutional_neural_network.py": source,
    }.items():
        (folder / "mlfromscratch" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mlfromscratch" / path).write_text(text)
    return folder


def test_import_lines_are_changed_and_nothing_else():
    source = "import numpy\nfrom common.layers import *\nfrom commons import x\n# import common\nimport common\n"
    text, count = original_script.changed(source, {"common": "new.common"})
    assert count == 2
    assert text == source.replace("from common.layers", "from new.common.layers").replace(
        "\nimport common\n", "\nimport new.common\n"
    )
    relative, count = original_script.changed(
        "from ..utils import a\nfrom ..losses import b\n", {"..utils": "new.utils"}
    )
    assert (relative, count) == ("from new.utils import a\nfrom ..losses import b\n", 1)


@pytest.mark.process
def test_a_script_runs_on_both_sides(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    page, results = tmp_path / "RESULTS.md", tmp_path / "results.json"
    page.write_text(f"{originals.SECTION.begin}\n{originals.SECTION.end}\n")
    words = [str(checkout(tmp_path / "repository")), "--threads", "1", "--write", str(page), "--results", str(results)]
    assert originals.main(words) == 0
    printed = capsys.readouterr().out
    assert "| ML-From-Scratch: `convolutional_neural_network.py` |" in printed
    assert "|             1 |   5, to 0e+00 |" in printed  # three that are drawn, two that are printed
    assert printed in page.read_text()
    assert originals.main(words) == 0  # from the file of results
    assert capsys.readouterr().out == printed


@pytest.mark.process
def test_other_numbers_and_crashes_are_told(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder = checkout(
        tmp_path / "other", SCRIPT.replace("0.25", "float(determine_padding.__module__.startswith('fast'))")
    )
    assert originals.main([str(folder), "--threads", "1"]) == 0
    assert "to 1e+00 |" in capsys.readouterr().out
    folder = checkout(tmp_path / "crash", SCRIPT + "raise RuntimeError('it crashed')\n")
    assert originals.main([str(folder), "--threads", "1"]) == 1
    assert "convolutional_neural_network.py, original: RuntimeError: it crashed" in capsys.readouterr().err
    assert originals.main([str(tmp_path), "--threads", "1"]) == 1
    assert "is no checkout of Deep Learning from Scratch, ML-From-Scratch, numpy-ml" in capsys.readouterr().err


def test_deviations():
    assert originals.deviation([1.0, 200.0], [1.0, 100.0]) == 1.0
    assert originals.deviation([0.5], [0.25]) == 0.25
    assert originals.deviation([1.0], [1.0, 2.0]) == float("inf")
    assert originals.deviation([float("nan")], [float("nan")]) == 0.0
