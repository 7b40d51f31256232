"""Saving of every kind, killed at random moments: the file is then the old one whole or the new one whole.

A child saves a number over and over and tells each number that it has saved; it is killed, the file is read, and the
next save must leave it alone in its folder. Children are forked from this process, which runs no kernels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from fastconv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastconv.compat.dlfs import SimpleConvNet
from fastconv.data import read_idx, write_idx
from fastconv.history import History
from fastconv.training import Position
from fastconv.viz.figures import save as save_figure
from fastconv.weights import load_weights, save_weights
from fuzzing.hunt import Findings, Hunt

SIZE = 20_000  # numbers of an array: writing them takes about as long as all else
LONGEST = 0.06  # seconds until a child is killed, by which even the slowest kind has saved a few times


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a number is saved, and what is read of it."""

    name: str
    save: Callable[[Path, int], object]
    load: Callable[[Path], int]


def _array(number: int) -> np.ndarray:
    return np.full(SIZE, number, np.int32)


def _same(*arrays: np.ndarray) -> int:
    """The one number that arrays are full of."""
    found = {int(value) for array in arrays for value in (array.min(), array.max())}
    assert len(found) == 1 and all(array.size == SIZE for array in arrays), f"a mixture of {sorted(found)}"
    return found.pop()


def _save_weights(path: Path, number: int) -> None:
    save_weights(path, {"a": _array(number), "b": _array(number)})


def _load_weights(path: Path) -> int:
    return _same(*load_weights(path).values())


def _save_checkpoint(path: Path, number: int) -> None:
    rows = [{"epoch": number, "train_loss": 0.5}]
    arrays = {"a": _array(number)}
    save_checkpoint(path, Checkpoint(arrays, arrays, {"number": number}, History(rows), Position(number)))


def _load_checkpoint(path: Path) -> int:
    found = load_checkpoint(path)
    arrays = (found.model["a"], found.optimizer["a"])
    assert {found.settings["number"], found.history.rows[0]["epoch"], found.position.epoch} == {_same(*arrays)}
    return _same(*arrays)


def _history(number: int) -> History:
    return History([{"epoch": number, "train_loss": number}] * 500)


def _lines(path: Path) -> int:
    lines = path.read_text().splitlines()
    found = {line for line in lines[1:]}
    assert len(lines) == 501 and len(found) == 1, f"{len(lines)} lines"
    return int(found.pop().split(",")[0])


def _rows(path: Path) -> int:
    rows = json.loads(path.read_text())
    assert len(rows) == 500 and all(row == rows[0] for row in rows)
    return int(rows[0]["epoch"])


def _save_figure(path: Path, number: int) -> None:
    """What a figure is, to the function that saves it: something that writes itself to a file, here bit by bit."""

    def savefig(file: Any, **_: object) -> None:
        for _ in range(100):
            file.write(b"%9d\n" % number)

    save_figure(SimpleNamespace(figure=SimpleNamespace(savefig=savefig)), path)


def _load_figure(path: Path) -> int:
    lines = path.read_bytes().splitlines()
    assert len(lines) == 100 and len(set(lines)) == 1, f"{len(lines)} lines"
    return int(lines[0])


def _export(path: Path, number: int) -> None:
    from fastconv import nn, onnx

    layer = nn.Linear(10, 1000, rng=0)
    layer.weight.value[:] = number
    onnx.export(nn.Sequential(layer), path, (1, 10))


def _exported(path: Path) -> int:
    import onnx
    from onnx.numpy_helper import to_array

    model = onnx.load(path)
    onnx.checker.check_model(model)
    found = {
        float(v) for array in model.graph.initializer if array.dims == [1000, 10] for v in set(to_array(array).flat)
    }
    assert len(found) == 1, found
    return int(found.pop())


def _kinds() -> list[Kind]:
    network = SimpleConvNet(
        input_dim=(1, 8, 8), conv_param={"filter_num": 4, "filter_size": 3, "pad": 0, "stride": 1}, hidden_size=20
    )

    def save_params(path: Path, number: int) -> None:
        for array in network.params.values():
            array[...] = number
        network.save_params(path)

    def load_params(path: Path) -> int:
        network.load_params(path)
        found = {float(v) for array in network.params.values() for v in (array.min(), array.max())}
        assert len(found) == 1, found
        return int(found.pop())

    kinds = [
        Kind("weights.npz", _save_weights, _load_weights),
        Kind("checkpoint.npz", _save_checkpoint, _load_checkpoint),
        Kind("history.csv", lambda path, number: _history(number).to_csv(path), _lines),
        Kind("history.json", lambda path, number: _history(number).to_json(path), _rows),
        Kind("array.idx", lambda path, number: write_idx(path, _array(number)), lambda path: _same(read_idx(path))),
        Kind("array.idx.gz", lambda path, number: write_idx(path, _array(number)), lambda path: _same(read_idx(path))),
        Kind("figure.png", _save_figure, _load_figure),
        Kind("params.npz", save_params, load_params),
    ]
    with contextlib.suppress(ImportError):
        import safetensors.numpy  # noqa: F401

        kinds.append(Kind("weights.safetensors", _save_weights, _load_weights))
    with contextlib.suppress(ImportError):
        import onnx.numpy_helper  # noqa: F401

        kinds.append(Kind("model.onnx", _export, _exported))
    return kinds


def _save_on(kind: Kind, path: Path, writing: int) -> NoReturn:
    """Save 1, 2, 3 and so on; a byte is told after each."""
    try:
        number = 0
        while True:
            number += 1
            kind.save(path, number)
            os.write(writing, b".")
    except BaseException as error:
        os.write(writing, f"{type(error).__name__}: {error}".encode()[:1000])
    os._exit(1)


def _killed(kind: Kind, path: Path, seconds: float, savers: int) -> list[int]:
    """How many saves each of so many children has told when all are killed."""
    children, pipes = [], []
    for _ in range(savers):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _save_on(kind, path, writing)
        os.close(writing)
        children.append(child)
        pipes.append(reading)
    time.sleep(seconds)
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    told = []
    for reading in pipes:
        with os.fdopen(reading) as file:
            said = file.read()
        assert not said.strip("."), said
        told.append(len(said))
    return told


def _judge(kind: Kind, folder: Path, seconds: float, savers: int) -> bool:
    """Kill savers; look at the file, and at what the next save leaves. Whether something was left over before it."""
    path = folder / kind.name
    kind.save(path, 0)
    told = _killed(kind, path, seconds, savers)
    found = kind.load(path)
    # of one saver: the last that it has told, or the next; of several: one of those that any was at
    wanted = range(told[0], told[0] + 2) if savers == 1 else range(max(told) + 2)
    assert found in wanted, f"the file holds {found} after saves of {told}"
    left = os.listdir(folder) != [kind.name]
    kind.save(path, 7)
    assert kind.load(path) == 7
    assert os.listdir(folder) == [kind.name], f"left over: {sorted(os.listdir(folder))}"
    return left


def run(cases: int, seed: int, findings: Findings) -> None:
    """So many kills, of the kinds of files in turn; every fourth of three savers at once."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of forking with threads
    kinds = _kinds()
    for kind in kinds:  # what is imported at first use
        with tempfile.TemporaryDirectory() as folder:
            kind.save(Path(folder) / kind.name, 1)
            assert kind.load(Path(folder) / kind.name) == 1
    for number in range(cases):
        rng = np.random.default_rng([seed, number])
        kind, seconds = kinds[number % len(kinds)], float(rng.random() * LONGEST)
        savers = 3 if rng.random() < 0.25 else 1
        told = f"seed {seed}, case {number}: {kind.name}, {savers} savers, killed after {seconds:.6f} s"
        what = "process killed" if savers == 1 else "three processes killed"
        with tempfile.TemporaryDirectory() as folder, findings.case(f"{what} while saving", told):
            if _judge(kind, Path(folder), seconds, savers):
                findings.counts["of these with a part file left until the next save"] += 1


HUNT = Hunt(
    promise="a process that is killed while it saves leaves the old file whole or the new one whole, and what else it"
    " leaves is removed by the next save",
    how="children that save weights, checkpoints, histories, IDX files, figures and ONNX files over and over, alone or"
    " three at once, SIGKILL at random moments",
    run=run,
    short=30,
    long=500,
)
