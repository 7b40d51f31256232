"""What a user's type checker sees of the installed package: real types, in a script under `mypy --strict`."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import fastconv

mypy = pytest.importorskip("mypy")

PACKAGE = Path(fastconv.__file__).parent
RIGHT = """
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import fastconv
import fastconv as fc
import fastconv.functional as F
from fastconv import conv2d, nn, optim
from fastconv.checkpoint import Checkpoint, load_model
from fastconv.data import load_digits, minibatches
from fastconv.errors import DTypeError, ShapeError
from fastconv.history import History
from fastconv.models import MODELS, lenet5
from fastconv.nn import Conv2d, Flatten, Layer, Linear, MaxPool2d, Parameter, ReLU, Residual, Sequential
from fastconv.optim import SGD, Adam
from fastconv.training import Run, evaluate, fit, predict, train_step
from fastconv.weights import load_weights, save_weights

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]

# functions
x: npt.NDArray[np.float32] = np.ones((2, 3, 8, 8), np.float32)
weight: npt.NDArray[np.float32] = np.ones((4, 3, 3, 3), np.float32)
y = assert_type(conv2d(x, weight, None, 1, "same"), Array)
assert_type(fc.conv2d(x, weight, stride=(1, 1), padding=((1, 1), (0, 2)), dilation=1, layout="NCHW"), Array)
assert_type(fc.conv2d_backward(y, x, weight, padding="same"), tuple[Array | None, Array | None, Array | None])
assert_type(fc.conv_output_shape(x.shape, weight.shape, padding=1), tuple[int, int, int, int])
assert_type(F.max_pool2d_with_indices(x, 2), tuple[Array, Array])
assert_type(F.avg_pool2d(x, (2, 2), padding=(1, 1)), Array)
assert_type(F.relu(x), Array)
assert_type(F.cross_entropy(np.zeros((2, 3)), np.array([0, 1])), tuple[float, Array])
assert_type(fc.im2col(x, 3, order="rows"), Array)
assert_type(fastconv.__version__, str)
assert_type(fc.show_config(), str)
assert_type(fc.warmup([np.float32, "float64"]), float)
with fc.num_threads(1), fc.use_backend("numpy"):
    assert_type(fc.get_num_threads(), int)

# layers, one of them the user's own
class Double(Layer):
    def __init__(self) -> None:
        self.factor = Parameter(np.full(1, 2, np.float32))

    def forward(self, x: Array, training: bool = True) -> tuple[Array, nn.base.Backward]:
        return 2 * x, lambda grad: 2 * grad


block = Residual(Sequential(Conv2d(4, 4, 3, padding="same", dtype=np.float32)))
model = Sequential(
    Conv2d(3, 4, (3, 3), padding=1, rng=0), nn.BatchNorm2d(4), ReLU(), block, Double(), MaxPool2d(2), Flatten(),
    Linear(64, 10, rng=np.random.default_rng(0)),
)
assert_type(model(x), Array)
out, backward = model.forward(x)
assert_type(backward(out), Array)
assert_type(model[0], Layer)
assert_type([layer for layer in model], list[Layer])
assert_type(model.parameters(), list[Parameter])
assert_type(model.parameters()[0].grad, Array)
assert_type(model.state_dict(), dict[str, Array])
assert_type(model.output_shape((1, 3, 8, 8)), tuple[int, ...])
assert_type(nn.folded(model), Layer)

# models and optimisers
assert_type(lenet5(rng=0, dtype="float64"), Sequential)
assert_type(MODELS["lenet5"](rng=0), Sequential)
optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
assert_type(optimizer.lr, float)
assert_type(Adam(model.parameters()).state_dict(), dict[str, Any])
assert_type(optim.clip_grad_norm(model.parameters(), 1.0), float)

# training, data, files
def stop(run: Run) -> bool:
    return assert_type(run.position.epoch, int) > 2


train, test = load_digits()
history = fit(
    model, train, test, optimizer=optimizer, epochs=2, batch_size=32, rng=0,
    schedule=optim.cosine, callbacks=[stop, print],
)
assert_type(history, History)
assert_type(train_step(model, *train, optimizer), float)
assert_type(evaluate(model, *test), tuple[float, float])
assert_type(predict(model, test[0]), Array)
for images, _ in minibatches(*train, 32, rng=0):
    assert_type(images, Array)
assert_type(load_model("m.npz"), tuple[Sequential, Checkpoint])
save_weights(Path("w.npz"), model.state_dict())
assert_type(load_weights(Path("w.npz")), dict[str, Array])
errors: list[type[Exception]] = [ShapeError, DTypeError]
"""
WRONG = """
import fastconv as fc
from fastconv.data import load_digits
from fastconv.models import lenet5
from fastconv.nn import Conv2d
from fastconv.optim import SGD
from fastconv.training import fit

fc.conv2d("x", "w")  # E: arg-type
Conv2d("3", 4, 3)  # E: arg-type
SGD(lenet5())  # E: arg-type
fc.conv3d  # E: attr-defined
fit(lenet5(), load_digits()[0], optimizer=SGD(lenet5().parameters(), 0.1), epochs="two")  # E: arg-type
fc.get_num_threads().upper()  # E: attr-defined
"""


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """Check a script where fastconv is installed, which alone makes mypy ask whether it is typed."""
    home = tmp_path_factory.mktemp("typing")
    venv.create(home / "env", symlinks=True, with_pip=False)
    scheme = {"base": str(home / "env"), "platbase": str(home / "env")}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    (site / "fastconv").symlink_to(PACKAGE)
    # what it needs, from where it is
    (site / "others.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    python = Path(sysconfig.get_path("scripts", "venv", scheme)) / "python"
    environment = {name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")}

    def check(script):
        (home / "script.py").write_text(script)
        words = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "script.py"]
        return subprocess.run(words, cwd=home, env=environment, text=True, capture_output=True).stdout

    return check


def test_a_strict_script_passes(strict):
    assert strict(RIGHT).splitlines() == ["Success: no issues found in 1 source file"]


def test_wrong_calls_are_seen(strict):
    found = {(int(line), code) for line, code in re.findall(r"script\.py:(\d+): error: .*\[([a-z-]+)\]", strict(WRONG))}
    lines = enumerate(WRONG.splitlines(), 1)
    assert found == {(i, line.split("# E: ")[1]) for i, line in lines if "# E: " in line}


def test_an_installed_copy_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()
    files = {str(file) for file in importlib.metadata.files("fastconv") or ()}
    assert "fastconv/__init__.py" not in files or "fastconv/py.typed" in files
