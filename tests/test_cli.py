"""The command: exit codes, what it prints, the files it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastconv.cli import main
from fastconv.data import load_digits, write_idx
from fastconv.data.mnist import FILES

KEYS = {
    "model", "data", "epochs", "train_loss", "test_loss", "test_accuracy", "seconds", "images_per_second", "threads"
}  # fmt: skip
COMPARISON = {
    "batch_size": 64, "numba_float32": 1e-3, "numba_float64": 2e-3, "numpy_float32": 1e-2, "numpy_float64": 2e-2,
    "ratio_float64": 20.0, "ratio_float32": 10.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_comparison(monkeypatch):
    for command in ("train", "bench"):
        monkeypatch.setattr(f"fastconv.cli.{command}.compare_backends", lambda *_, **__: dict(COMPARISON))


@pytest.fixture
def run(capsys):
    """Run the command; returns the exit code, standard output and standard error."""

    def call(*words):
        code = main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return call


def write_folder(folder, count=60, test=True, classes=10):
    (x, labels), _ = load_digits()
    images = np.rint(255 * x[:count, 0]).astype(np.uint8)
    labels = (labels[:count] % classes).astype(np.uint8)
    arrays = (images, labels, images[:20], labels[:20])
    for name, array in zip(FILES if test else FILES[:2], arrays):
        write_idx(folder / name, array)
    return folder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "images"
    path.mkdir()
    return write_folder(path)


@pytest.fixture
def saved(tmp_path, folder, run):
    path = tmp_path / "m.npz"
    assert run("train", "--data", folder, "--epochs", 1, "--batch-size", 20, "--save", path, "--json")[0] == 0
    return path


def last_row(out):
    return json.loads(out.splitlines()[-1])


def test_train_on_digits(run):
    code, out, err = run("train", "--epochs", 1, "--json")
    row = last_row(out)
    assert (code, err) == (0, "")
    assert row.keys() == KEYS
    assert (row["model"], row["data"], row["epochs"], row["threads"]) == ("lenet5", "digits", 1, 2)
    assert 0 < row["test_accuracy"] <= 1 and row["seconds"] > 0 and row["images_per_second"] > 0


def test_train_prints_epochs_and_the_comparison(run, folder, tmp_path):
    path = tmp_path / "m.npz"
    code, out, _ = run("train", "--data", folder, "--epochs", 2, "--save", path)
    assert code == 0
    for text in ("60 images to learn from, 20 to test", "epoch   1: train loss", "epoch   2: train loss",
                 "test accuracy", f"saved to {path}", "20.0 times as long"):  # fmt: skip
        assert text in out


@pytest.mark.parametrize(
    "words",
    [
        ("lenet5-sigmoid",), ("--optimizer", "adam", "--lr", "0.01"), ("--optimizer", "adamw"),
        ("--schedule", "step"), ("--schedule", "constant"), ("--seed", "5"),
        ("--dtype", "float64"), ("--threads", "1"), ("--backend", "numpy"), ("--batch-size", "1000"),
    ],
)  # fmt: skip
def test_train_options(run, folder, words):
    code, out, _ = run("train", *words, "--data", folder, "--epochs", 1, "--json")
    assert code == 0
    assert last_row(out).keys() == KEYS
    assert last_row(out)["threads"] == (1 if "--threads" in words else 2)
    assert fastconv.get_backend() == "numba"


def test_the_numpy_backend_makes_no_comparison(run, folder):
    code, out, _ = run("train", "--backend", "numpy", "--data", folder, "--epochs", 1)
    assert code == 0 and "times as long" not in out


def test_save_eval_predict_resume(run, saved, folder, tmp_path):
    _, out, _ = run("eval", saved, "--json")
    row = last_row(out)
    kept = load_checkpoint(saved)
    assert row.keys() == KEYS
    assert (row["epochs"], row["data"], row["test_loss"]) == (1, str(folder), kept.history.rows[-1]["test_loss"])
    code, out, _ = run("eval", saved)
    assert code == 0 and f"on 20 images of {folder}" in out

    image = tmp_path / "a.npy"
    np.save(image, load_digits()[1][0][:3])
    code, out, _ = run("predict", image, "--weights", saved, "--json")
    answer = last_row(out)
    assert (code, answer["image"], len(answer["predictions"])) == (0, str(image), 3)
    for prediction in answer["predictions"]:
        chances = prediction["probabilities"]
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert max(chances, key=chances.get) == prediction["class"]
        assert len(chances) == kept.settings["classes"]
    code, plain, _ = run("predict", image, "--weights", saved)
    assert code == 0 and len(plain.splitlines()) == 3 and plain.count("%") == 9
    assert run("predict", image, "--weights", saved, "--invert")[1] != plain

    again = tmp_path / "again.npz"
    code, out, _ = run("train", "--resume", saved, "--epochs", 3, "--save", again, "--json")
    assert (code, last_row(out)["epochs"]) == (0, 3)
    rows = load_checkpoint(again).history.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3] and rows[0] == kept.history.rows[0]
    assert load_checkpoint(again).settings["batch_size"] == 20
    # nothing left to do
    code, out, _ = run("train", "--resume", again, "--json")
    assert (code, last_row(out)["epochs"]) == (0, 3)


@pytest.mark.parametrize("model", ["lenet5", "small-alexnet", "small-resnet"])  # plain, with dropout, with statistics
def test_resume_has_the_bits_of_one_run(run, folder, tmp_path, model):
    whole, part = tmp_path / "whole.npz", tmp_path / "part.npz"
    common = ("--batch-size", 20, "--schedule", "constant", "--json", "--save")
    assert run("train", model, "--data", folder, "--epochs", 2, *common, whole)[0] == 0
    assert run("train", model, "--data", folder, "--epochs", 1, *common, part)[0] == 0
    assert run("train", "--resume", part, "--epochs", 2, "--save", part, "--json")[0] == 0
    a, b = load_checkpoint(whole), load_checkpoint(part)
    for found, wanted in ((b.model, a.model), (b.optimizer, a.optimizer)):
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])


def test_history_files(run, folder, tmp_path):
    for name in ("h.csv", "h.json"):
        code, _, _ = run("train", "--data", folder, "--epochs", 2, "--history", tmp_path / name, "--json")
        assert code == 0
    rows = json.loads((tmp_path / "h.json").read_text())
    lines = (tmp_path / "h.csv").read_text().splitlines()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert lines[0] == ",".join(rows[0]) and len(lines) == 3
    assert [line.split(",")[1] for line in lines[1:]] == [str(row["train_loss"]) for row in rows]
    code, _, err = run("train", "--data", folder, "--history", tmp_path / "h.txt")
    assert code == 1 and ".csv or .json" in err


@pytest.mark.parametrize(
    "words",
    [
        (), ("fly",), ("train", "--fly"), ("train", "resnet"), ("train", "--batch-size", "0"),
        ("train", "--batch-size", "1.5"), ("train", "--epochs", "0"), ("train", "--lr", "nan"), ("train", "--lr", "-1"),
        ("train", "--seed", "-1"), ("train", "--backend", "gpu"), ("train", "--threads", "0"), ("predict", "a.npy"),
        ("eval",),
    ],
)  # fmt: skip
def test_wrong_usage(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: fastconv" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--epochz", "3"), ("--epochz", "3", "lenet5"), ("lenet5", "--epochz", "3")])
def test_a_misspelt_option_is_named(capsys, words):
    with pytest.raises(SystemExit):
        main(["train", *words])
    assert "unrecognized arguments: --epochz" in capsys.readouterr().err


def test_a_wrong_model_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["train", "resnet"])
    assert "argument MODEL: must be one of lenet5," in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("train", "--help")])
def test_help(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    assert "fastconv" in capsys.readouterr().out


@pytest.mark.parametrize("option, name", [("--save", "a.npz"), ("--history", "a.csv")])
def test_outputs_are_checked_before_training(run, folder, tmp_path, monkeypatch, option, name):
    monkeypatch.setattr("fastconv.cli.train.fit", lambda *_, **__: pytest.fail("it trained"))
    missing = tmp_path / "none" / name
    code, _, err = run("train", "--data", folder, option, missing)
    assert code == 1 and f"fastconv: error: {missing}: there is no folder {missing.parent}" in err
    code, _, err = run("train", "--data", folder, option, tmp_path)
    assert code == 1 and "is a folder" in err


def test_too_many_threads(run):
    code, _, err = run("info", "--threads", 10**6)
    assert code == 1 and "fastconv: error: " in err and "from 1 to" in err


def test_missing_data(run, tmp_path, saved):
    code, _, err = run("train", "--data", tmp_path / "none")
    assert code == 1 and f"{tmp_path / 'none'}, which does not exist" in err
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, err = run("train", "--data", empty)
    assert code == 1 and f"{empty} lacks {FILES[0]}" in err
    code, _, err = run("eval", saved, "--data", empty)
    assert code == 1 and f"{empty} lacks {FILES[0]}" in err


def test_a_folder_without_a_test_split(run, tmp_path):
    write_folder(tmp_path, test=False)
    code, out, _ = run("train", "--data", tmp_path, "--epochs", 1)
    assert code == 0 and "54 images to learn from, 6 to test" in out


def test_labels_out_of_range(run, folder, tmp_path):
    """A model of three classes, data of ten: the message names the file, the label, and what the model takes."""
    small = tmp_path / "small"
    small.mkdir()
    write_folder(small, classes=3)
    path = tmp_path / "small.npz"
    assert run("train", "--data", small, "--epochs", 1, "--save", path, "--json")[0] == 0
    on_test, on_training = ("eval", path), ("train", "--resume", path, "--epochs", 2)
    for words, name, largest in ((on_test, FILES[3], 8), (on_training, FILES[1], 9)):
        code, _, err = run(*words, "--data", folder)
        assert code == 1
        assert f"fastconv: error: {folder / name}: has label {largest}, labels from 0 to 2 were needed" in err
    # without a test split the labels of both parts come from the one file
    for file in FILES[2:]:
        (folder / file).unlink()
    code, _, err = run(*on_test, "--data", folder)
    assert code == 1 and f"{folder / FILES[1]}: has label " in err
    code, _, err = run(*on_test, "--data", "digits")
    assert code == 1 and "fastconv: error: digits: has label 9, labels from 0 to 2 were needed" in err


def test_a_truncated_folder(run, folder):
    for name in FILES[:2]:
        path = folder / name
        content = path.read_bytes()
        path.write_bytes(content[:-5])
        code, _, err = run("train", "--data", folder)
        assert code == 1 and name in err
        path.write_bytes(content)


def test_damaged_checkpoints(run, saved, tmp_path):
    image = tmp_path / "a.npy"
    np.save(image, np.zeros((28, 28)))
    weights = tmp_path / "weights.npz"
    save_checkpoint(weights, Checkpoint(load_checkpoint(saved).model))
    code, _, err = run("eval", weights)
    assert code == 1 and "holds no settings" in err
    saved.write_bytes(saved.read_bytes()[:1000])
    for words in (("eval", saved), ("train", "--resume", saved), ("predict", image, "--weights", saved)):
        code, _, err = run(*words)
        assert code == 1 and "m.npz: is not a fastconv checkpoint" in err
    code, _, err = run("eval", tmp_path / "none.npz")
    assert code == 1 and "none.npz" in err


def test_predict_refuses_other_shapes(run, saved, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((8, 8)))
    code, _, err = run("predict", tmp_path / "a.npy", "--weights", saved)
    assert code == 1 and "a.npy: a picture of shape (1, 28, 28) was needed" in err


def test_divergence(run, folder, tmp_path):
    path = tmp_path / "m.npz"
    code, _, err = run("train", "--data", folder, "--lr", "1e38", "--batch-size", 20, "--save", path)
    assert code == 1 and "fastconv: error: fit: the loss is" in err and "step 2 of epoch 1" in err
    assert all(np.isfinite(value).all() for value in load_checkpoint(path).model.values())


def test_plot_without_matplotlib(run, folder, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("fastconv.cli.train.fit", lambda *_, **__: pytest.fail("it trained"))
    code, _, err = run("train", "--data", folder, "--plot", tmp_path / "a.png")
    assert code == 1 and "fastconv[plot]" in err
    assert not (tmp_path / "a.png").exists()


def test_plot(run, folder, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.png"
    assert run("train", "--data", folder, "--epochs", 2, "--plot", path, "--json")[0] == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_export_onnx(run, saved, tmp_path):
    pytest.importorskip("onnx")
    from fastconv.onnx import load

    path = tmp_path / "m.onnx"
    code, out, err = run("export-onnx", saved, path)
    assert (code, err) == (0, "")
    assert out == f"wrote {path}: lenet5 from (N, 1, 28, 28) to (N, 10)\n"
    checkpoint, model = load_checkpoint(saved), load(path)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, checkpoint.model[name])
    code, out, _ = run("export-onnx", saved, path, "--json")
    assert code == 0
    assert last_row(out) == {
        "model": "lenet5", "file": str(path), "dtype": "float32", "input": ["N", 1, 28, 28], "output": ["N", 10]
    }  # fmt: skip
    code, _, err = run("export-onnx", saved, tmp_path / "none" / "m.onnx")
    assert code == 1 and "there is no folder" in err
    code, _, err = run("export-onnx", tmp_path / "none.npz", path)
    assert code == 1 and "none.npz" in err


def test_export_onnx_without_onnx(run, saved, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run("export-onnx", saved, tmp_path / "m.onnx")
    assert code == 1 and "fastconv[onnx]" in err
    assert not (tmp_path / "m.onnx").exists()


def test_info(run):
    code, out, _ = run("info")
    assert code == 0 and fastconv.__version__ in out
    code, out, _ = run("info", "--json")
    assert code == 0 and fastconv.__version__ in last_row(out).values()


def test_bench(run, monkeypatch):
    from fastconv import comparison

    asked = []

    def seconds(backend, dtype, batch_size, steps):
        asked.append((backend, batch_size))
        return {"numba": 1e-3, "numpy": 5e-3}[backend]

    monkeypatch.setattr(comparison, "step_seconds", seconds)
    monkeypatch.setattr("fastconv.cli.bench.compare_backends", comparison.compare_backends)
    code, out, _ = run("bench", "--batch-size", 8)
    assert code == 0 and "step of 8 images: 1.00 ms" in out and "5.0 times" in out
    assert {batch_size for _, batch_size in asked} == {8}
    code, out, _ = run("bench", "--json")
    assert code == 0
    assert last_row(out).keys() == COMPARISON.keys() | {"threads"}
    assert last_row(out)["ratio_float64"] == pytest.approx(5)


def test_the_handler_of_interrupts_is_put_back(run, folder):
    before = signal.getsignal(signal.SIGINT)
    assert run("train", "--data", folder, "--epochs", 1, "--json")[0] == 0
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("save", [True, False])
def test_interrupt_in_an_epoch(run, folder, tmp_path, monkeypatch, save):
    from fastconv.cli import train

    def interrupted_fit(*arguments, callbacks, **others):
        def raise_signal(run):
            if run.position.epoch == 1 and run.position.step == 1:
                signal.raise_signal(signal.SIGINT)

        return fit(*arguments, callbacks=[raise_signal, *callbacks], **others)

    fit = train.fit
    monkeypatch.setattr(train, "fit", interrupted_fit)
    monkeypatch.chdir(tmp_path)
    path = Path("m.npz" if save else "fastconv-interrupted.npz")
    words = ["--save", path] if save else []
    code, _, err = run("train", "--data", folder, "--epochs", 5, "--batch-size", 20, *words)
    assert code == 1
    assert f"interrupted after 1 epochs and 1 steps; saved to {path}" in err
    assert f"fastconv train --resume {path} --save {path}" in err
    position = load_checkpoint(path).position
    assert (position.epoch, position.step, position.images) == (1, 1, 20)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for other processes")
def test_interrupt_of_a_process(tmp_path):
    path = tmp_path / "f.npz"
    environment = os.environ | {"PYTHONPATH": str(Path(fastconv.__file__).parents[1])}
    command = [sys.executable, "-m", "fastconv", "train", "--epochs", "500", "--threads", "2", "--save", "f.npz"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            while not path.exists() and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 1, err
    assert "saved to f.npz" in err and "go on with: fastconv train --resume f.npz --save f.npz" in err
    kept = load_checkpoint(path)
    assert 1 <= len(kept.history) < 500 and kept.position.epoch == len(kept.history)
