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
from fastconv import config
from fastconv.checkpoint import Checkpoint, build_model, load_checkpoint, load_model, save_checkpoint
from fastconv.cli import main, train
from fastconv.cli.log_styles import STYLES
from fastconv.cli.settings import new_optimizer
from fastconv.data import FASHION_MNIST_CLASSES, load_digits, write_idx
from fastconv.data.mnist import FILES
from fastconv.models import MODELS, small_resnet
from fastconv.optim import SGD, Adam
from fastconv.training import Position, Run, predict
from fastconv.weights import load_weights

KEYS = {
    "model", "data", "epochs", "train_loss", "test_loss", "test_accuracy", "seconds", "images_per_second", "threads"
}  # fmt: skip
COMPARISON = {
    "batch_size": 64, "dtype": "float32", "numba": 1e-3, "numpy_float32": 1e-2, "numpy_float64": 2e-2,
    "ratio_float64": 20.0, "ratio_float32": 10.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_comparison(monkeypatch):
    monkeypatch.setattr("fastconv.cli.train.compare_backends", lambda *_, **__: dict(COMPARISON))


@pytest.fixture
def run(capsys):
    """Run the command; returns the exit code, standard output and standard error."""

    def call(*words):
        code = main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return call


def write_folder(folder, count=60, test=True, classes=10, size=28):
    (x, labels), _ = load_digits()
    images = np.rint(255 * x[:count, 0, :size, :size]).astype(np.uint8)
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


@pytest.mark.parametrize("name", ["cifar-cnn", "deep-convnet", "resnet20"])
def test_models_that_fit_the_data_s_images(run, tmp_path, name):
    """Made for others, they take these, and a checkpoint is of the same sizes."""
    (tmp_path / "images").mkdir()
    folder, path = write_folder(tmp_path / "images", size=20), tmp_path / "m.npz"
    assert run("train", name, "--data", folder, "--epochs", 1, "--batch-size", 20, "--save", path, "--json")[0] == 0
    assert load_checkpoint(path).settings["shape"] == [1, 20, 20]
    code, out, _ = run("eval", path, "--json")
    assert code == 0 and 0 <= last_row(out)["test_accuracy"] <= 1


@pytest.mark.parametrize("name, size, said", [
    ("lenet5", 20, "lenet5 takes no images of 1 x 20 x 20, as {} has: Sequential: layer 7, Linear: takes 400 inputs"),
    ("cifar-cnn", 8, "cifar_cnn: takes no images of 8 x 8: Sequential: layer 10, MaxPool2d: the kernel's height 2"),
])  # fmt: skip
def test_images_that_a_model_cannot_take(run, tmp_path, name, size, said):
    folder = write_folder(tmp_path, size=size)
    code, _, err = run("train", name, "--data", folder, "--epochs", 1)
    assert code == 1 and err.startswith(f"fastconv: error: {said.format(folder)}")


def test_the_model_that_was_trained_is_compared(run, folder, monkeypatch):
    asked = []

    def compare(make, x, labels, **options):
        asked.append((make, x, labels, options))
        return {"batch_size": 20, "dtype": "float64", "numba": 1e-3, "numpy_float64": 2e-2, "ratio_float64": 20.0}

    monkeypatch.setattr("fastconv.cli.train.compare_backends", compare)
    words = ("small-resnet", "--optimizer", "adam", "--clip-norm", 1, "--batch-size", 20)
    code, out, _ = run("train", *words, "--data", folder, "--epochs", 1)
    ((make, x, labels, options),) = asked
    assert (x.shape, x.dtype, labels.shape) == ((20, 1, 28, 28), np.float32, (20,))
    assert (options["clip_norm"], options["clip_value"]) == (1, None)
    model, optimizer = make("float64")
    assert type(optimizer) is Adam and optimizer.parameters == model.parameters()
    assert model.state_dict().keys() == small_resnet().state_dict().keys()
    assert all(parameter.value.dtype == np.float64 for parameter in model.parameters())
    assert code == 0 and out.endswith(
        "a training step of 20 images: 1.00 ms; the NumPy backend takes 20.0 ms in float64 (20.0 times as long)\n"
    )


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
    wanted = predict(load_model(saved)[0], load_digits()[1][0][:3])
    for prediction, row in zip(answer["predictions"], wanted):
        assert list(prediction["probabilities"].values()) == sorted(row.tolist(), reverse=True)
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


@pytest.fixture
def interrupt(monkeypatch):
    """Let Ctrl-C be pressed after a step of an epoch, counted from 0, in the next training."""

    def at(epoch, step):
        def interrupted_fit(*arguments, callbacks, **others):
            def press(run):
                if (run.position.epoch, run.position.step) == (epoch, step):
                    signal.raise_signal(signal.SIGINT)

            monkeypatch.setattr(train, "fit", fit)
            return fit(*arguments, callbacks=[press, *callbacks], **others)

        fit = train.fit
        monkeypatch.setattr(train, "fit", interrupted_fit)

    return at


@pytest.mark.parametrize(
    "words, epoch, step",
    [
        (("lenet5", "--optimizer", "sgd", "--schedule", "cosine", "--momentum", 0.5), 1, 2),
        (("small-alexnet", "--optimizer", "adam", "--schedule", "step", "--clip-norm", 0.5), 0, 1),  # with dropout
        (("small-resnet", "--optimizer", "adamw", "--schedule", "exponential"), 1, 1),  # with running statistics
        (("small-resnet", "--optimizer", "rmsprop", "--schedule", "inverse_sqrt", "--clip-value", 0.01), 1, 0),
        (("small-alexnet", "--optimizer", "adagrad", "--schedule", "constant"), 1, 2),
    ],
)
def test_resume_has_the_bits_of_one_run(run, folder, tmp_path, interrupt, words, epoch, step):
    whole, part = tmp_path / "whole.npz", tmp_path / "part.npz"
    start = ("train", *words, "--data", folder, "--epochs", 2, "--batch-size", 20, "--json", "--save")
    assert run(*start, whole)[0] == 0
    interrupt(epoch, step)
    assert run(*start, part)[0] == 1
    position = load_checkpoint(part).position
    assert (position.epoch, position.step) == (epoch, step)
    assert run("train", "--resume", part, "--save", part, "--json")[0] == 0
    a, b = load_checkpoint(whole), load_checkpoint(part)
    for found, wanted in ((b.model, a.model), (b.optimizer, a.optimizer)):
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])
    losses = [[(row["train_loss"], row["test_loss"]) for row in kept.history.rows] for kept in (a, b)]
    assert losses[0] == losses[1]


def test_settings_reach_the_training(run, folder, tmp_path):
    """With all gradients clipped to nothing the weights stay; the optimiser is the one that was asked for."""
    path = tmp_path / "m.npz"
    for limit in ("--clip-norm", "--clip-value"):
        assert run("train", "--data", folder, "--epochs", 1, limit, 0, "--save", path, "--json")[0] == 0
        kept = load_checkpoint(path)
        for name, value in build_model(kept.settings).state_dict().items():
            np.testing.assert_array_equal(kept.model[name], value)
    model = build_model(kept.settings)
    optimizer = new_optimizer(kept.settings | {"momentum": 0.25, "lr": 0.5}, model)
    assert (type(optimizer), optimizer.momentum, optimizer.lr) == (SGD, 0.25, 0.5)
    optimizer = new_optimizer(kept.settings, model)
    assert (optimizer.momentum, optimizer.lr) == (0.9, 0.03)
    assert isinstance(new_optimizer(kept.settings | {"optimizer": "adam"}, model), Adam)


def test_what_is_resumed_can_be_clipped_otherwise(run, folder, tmp_path):
    path = tmp_path / "m.npz"
    start = ("--data", folder, "--epochs", 1, "--save", path, "--json")
    assert run("train", *start, "--clip-norm", 0.5)[0] == 0
    assert load_checkpoint(path).settings["clip_norm"] == 0.5
    assert run("train", "--resume", path, "--epochs", 2, "--clip-value", 1, "--save", path, "--json")[0] == 0
    settings = load_checkpoint(path).settings
    assert (settings["clip_norm"], settings["clip_value"], settings["optimizer"]) == (None, 1, "sgd")


def test_weights_alone(run, folder, tmp_path):
    pytest.importorskip("safetensors")
    checkpoint, path = tmp_path / "m.npz", tmp_path / "w.safetensors"
    words = ("--data", folder, "--epochs", 1, "--json", "--save", checkpoint, "--save-weights")
    assert run("train", *words, path)[0] == 0
    weights = load_weights(path)
    wanted = load_checkpoint(checkpoint).model
    assert weights.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(weights[name], value)
    code, _, err = run("train", *words, tmp_path / "w.bin")
    assert code == 1 and "--save-weights must end in .safetensors or .npz" in err


def test_log_styles(run, folder, tmp_path):
    path = tmp_path / "h.json"
    words = ("train", "--data", folder, "--epochs", 2, "--batch-size", 20, "--history", path, "--log-style")
    code, out, _ = run(*words, "numpy")
    first, second = json.loads(path.read_text())
    assert code == 0
    for row in (first, second):
        line = f"epoch {row['epoch']} , loss:{row['train_loss']:f} accuracy :{row['test_accuracy']:f}"
        assert line in out.splitlines()
    code, out, _ = run(*words, "pytorch")
    rows, lines = json.loads(path.read_text()), out.splitlines()
    assert code == 0 and "device: cpu, 2 threads" in lines
    assert any(line.startswith("Conv2d(") for line in lines)
    assert [line.split("  ")[1] for line in lines if line.startswith("loss: ")] == ["[20/60]"] * 2
    for row in rows:
        wanted = f"epoch {row['epoch']}: test accuracy: {row['test_accuracy']:.1%}, mean loss: {row['test_loss']:f}"
        assert wanted in lines
    assert "loss" not in run(*words, "pytorch", "--json")[1].replace('_loss"', "")


def test_a_loss_line_every_hundred_batches():
    lines = [STYLES["pytorch"].step(Run(None, None, None, Position(0, step, 0.0, step * 8), 250, 1, 0.5), 2000)
             for step in range(1, 251)]  # fmt: skip
    assert [line for line in lines if line] == [f"loss: 0.500000  [{n:>4}/2000]" for n in (8, 808, 1608)]


def test_history_files(run, folder, tmp_path):
    paths = ("--history", tmp_path / "h.csv", "--history", tmp_path / "h.json")
    assert run("train", "--data", folder, "--epochs", 2, *paths, "--json")[0] == 0
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
        ("eval",), ("train", "--clip-norm", "1", "--clip-value", "1"), ("train", "--clip-norm", "-1"),
        ("train", "--optimizer", "adam", "--momentum", "0.5"), ("info", "--batch-size", "3"),
        ("info", "--model", "lenet5", "--explain", "1,1,5,5,1,3,3,1,0"), ("train", "--log-style", "keras"),
    ],
)  # fmt: skip
def test_wrong_usage(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: fastconv" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--epochz", "3"), ("--epochz", "3", "lenet5"), ("lenet5", "--epochz", "3")])
def test_a_misspelt_option_is_named(capsys, words):
    with pytest.raises(SystemExit, match="2"):
        main(["train", *words])
    found = capsys.readouterr().err
    assert "usage: fastconv train " in found and "small-resnet" in found
    assert "fastconv train: error: unrecognized arguments: --epochz" in found


def test_a_wrong_model_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["train", "resnet"])
    found = capsys.readouterr().err
    assert "usage: fastconv train " in found and "argument MODEL: must be one of lenet5," in found


@pytest.mark.parametrize(
    "words, kind",
    [
        (("train", "--lr", "fast"), "invalid number value: 'fast'"),
        (("train", "--epochs", "ten"), "invalid integer value: 'ten'"),
        (("info", "--explain", "1,a"), "invalid list of integers value: '1,a'"),
    ],
)
def test_a_kind_of_argument_is_named(capsys, words, kind):
    with pytest.raises(SystemExit):
        main(words)
    assert kind in capsys.readouterr().err


def test_a_reader_that_has_had_enough_is_no_error(capfd, monkeypatch, tmp_path):
    with (tmp_path / "pipe").open("w") as pipe:

        class Closed:
            def write(self, text):
                raise BrokenPipeError

            def fileno(self):
                return pipe.fileno()

        monkeypatch.setattr(sys, "stdout", Closed())
        assert main(["info"]) == 1
    assert capfd.readouterr().err == ""


def test_a_library_that_fails_is_no_traceback(run, monkeypatch):
    def ended(*_, **__):
        raise RuntimeError("bench: the process for PyTorch ended with code 1")

    monkeypatch.setattr("fastconv.cli.bench.compare_libraries", ended)
    wanted = "fastconv: error: bench: the process for PyTorch ended with code 1\n"
    assert run("bench") == (1, "", wanted)


def test_an_interrupt_claims_nothing_of_files(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastconv.cli.warmup.warmup", interrupted)
    assert run("warmup") == (1, "", "\nfastconv: interrupted\n")


@pytest.mark.parametrize("command", ["train", "eval", "predict", "export-onnx", "bench", "info", "warmup", "demo"])
def test_every_command_says_what_it_does(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    _, description, arguments, *_ = capsys.readouterr().out.split("\n\n")
    assert len(description.split()) > 5 and arguments.startswith(("positional arguments:", "options:"))


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


def test_predict_takes_a_png(run, saved, tmp_path):
    images = pytest.importorskip("PIL.Image")
    pixels = np.rint(255 * load_digits()[1][0][0, 0]).astype(np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    images.fromarray(pixels).save(tmp_path / "a.png")
    images.fromarray(255 - pixels).save(tmp_path / "dark.png")
    code, out, _ = run("predict", tmp_path / "a.npy", "--weights", saved)
    assert code == 0 and len(out.splitlines()) == 1
    assert run("predict", tmp_path / "a.png", "--weights", saved)[1] == out
    assert run("predict", tmp_path / "dark.png", "--weights", saved, "--invert")[1] == out


def test_predict_refuses_a_picture_of_nothing(run, saved, tmp_path):
    images = pytest.importorskip("PIL.Image")
    ink = np.full((28, 28, 4), 255, np.uint8)  # white on nothing, which is white
    ink[:, :20, 3] = 0
    for pixels, value in ((ink, 1), (np.zeros((9, 9), np.uint8), 0), (np.full((28, 28, 3), 51, np.uint8), 0.2)):
        images.fromarray(pixels).save(tmp_path / "a.png")
        for invert in ((), ("--invert",)):
            code, _, err = run("predict", tmp_path / "a.png", "--weights", saved, *invert)
            assert code == 1 and f"a.png: nothing can be seen in the picture, which is {value} everywhere" in err


def test_predict_names_the_classes_of_fashion(run, folder, tmp_path):
    fashion = folder.rename(tmp_path / "fashion-mnist")
    path = tmp_path / "m.npz"
    assert run("train", "--data", fashion, "--epochs", 1, "--save", path, "--json")[0] == 0
    np.save(tmp_path / "a.npy", np.zeros((28, 28), np.uint8))
    found = last_row(run("predict", tmp_path / "a.npy", "--weights", path, "--json")[1])["predictions"][0]
    assert found["class"] in found["probabilities"] and found["probabilities"].keys() == set(FASHION_MNIST_CLASSES)


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


def test_plot_is_redrawn_every_epoch(run, folder, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from fastconv import viz
    from fastconv.viz import save_history

    path = tmp_path / "a.png"
    seen = []

    def noted(history, file, **options):
        save_history(history, file, **options)
        seen.append((len(history), options["language"], path.read_bytes()))

    monkeypatch.setattr(viz, "save_history", noted)
    words = ("train", "--data", folder, "--epochs", 2, "--json", "--plot")
    assert run(*words, path, "--language", "zh")[0] == 0
    assert [(epoch, language) for epoch, language, _ in seen] == [(1, "zh"), (2, "zh")]
    assert all(content.startswith(b"\x89PNG") for *_, content in seen)
    assert seen[0][2] != seen[1][2] == path.read_bytes()
    code, _, err = run(*words, tmp_path / "a.jpg")
    assert code == 1 and "--plot must end in .png" in err


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
    runtime = pytest.importorskip("onnxruntime")
    x = load_digits()[1][0][:1]  # (1, 1, 28, 28)
    (found,) = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": x})
    np.testing.assert_allclose(found, load_model(saved)[0](x), rtol=1e-5, atol=1e-5)
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


def test_what_is_timed_has_run_before(run, saved, folder, monkeypatch):
    """With every size of batch, since compilation is no speed; a training's with its limit of gradients."""
    sizes, steps = [], []

    def evaluated(model, x, labels):
        sizes.append(len(x))
        return 1.0, 0.5

    monkeypatch.setattr("fastconv.cli.compiling.EVALUATION_BATCH", 8)
    monkeypatch.setattr("fastconv.cli.compiling.evaluate", evaluated)
    monkeypatch.setattr("fastconv.cli.evaluate.evaluate", evaluated)
    assert run("eval", saved, "--json")[0] == 0
    assert sizes == [8, 4, 20]
    monkeypatch.setattr("fastconv.cli.compiling.train_step", lambda m, x, *_, **clip: steps.append((len(x), clip)))
    words = ("--batch-size", 28, "--epochs", 1, "--clip-value", 2, "--json")
    assert run("train", "--data", folder, *words)[0] == 0
    assert steps == [(28, {"clip_norm": None, "clip_value": 2}), (4, {"clip_norm": None, "clip_value": 2})]
    assert sizes[3:] == [8, 4]


def test_info(run):
    code, out, _ = run("info")
    assert code == 0 and fastconv.__version__ in out
    code, out, _ = run("info", "--json")
    facts = last_row(out)
    assert code == 0 and facts["fastconv"] == fastconv.__version__ and facts == config.facts()
    names = "fastconv python numpy numba llvmlite processor vector_bits threads most_threads backend winograd"
    assert " ".join(facts) == f"{names} kernel_cache shipped_code shipped_functions extras"
    assert facts["threads"] == fastconv.get_num_threads() <= facts["most_threads"]
    assert isinstance(facts["extras"], list) and set(facts["extras"]) <= set(config.EXTRAS)
    code, out, _ = run("info", "--model", "lenet5")
    assert code == 0 and "layers 0 to 11: together, images side by side" in out and "61,706" in out
    for name in MODELS:
        code, out, _ = run("info", "--model", name, "--batch-size", 3)
        assert code == 0 and "(3, 10)" in out
    assert "(3, 256, 8, 8)" in out  # of 64 x 64
    code, out, _ = run("info", "--model", "lenet5", "--batch-size", 1, "--json")
    assert code == 0 and any("fewer than 8" in line for line in last_row(out)["model"])
    with pytest.raises(SystemExit, match="2"):
        run("info", "--model", "lenet")


def test_bench(run, monkeypatch):
    asked, found = [], {"title": "LeNet-5", "batch_size": 8, "threads": 2, "epoch_images": 800, "memory": {}}
    found |= {"versions": {"fastconv": "0"}, "ratio": {"PyTorch": {"step": 5.0}}}
    found |= {"seconds": {"fastconv": {"step": 1e-3, "epoch": 1e-2}, "PyTorch": {"step": 5e-3}}}

    def compare(batch_size, rounds, *, network):
        asked.append((batch_size, rounds, network))
        return found

    monkeypatch.setattr("fastconv.cli.bench.compare_libraries", compare)
    code, out, _ = run("bench", "--batch-size", 8, "--rounds", 1)
    assert code == 0 and "training step, 8 images" in out and "5.00 ms (5.0x)" in out and "2 threads" in out
    assert "LeNet-5" in out and "memory" not in out
    code, out, _ = run("bench", "--json")
    assert code == 0 and last_row(out) == found
    assert run("bench", "--model", "vgg-small")[0] == 0
    assert asked == [(8, 1, "lenet5"), (None, 3, "lenet5"), (None, 3, "vgg-small")]
    with pytest.raises(SystemExit, match="2"):
        run("bench", "--model", "vgg")


@pytest.mark.process
def test_bench_of_another_model(run, monkeypatch):
    """As it is, with what is installed, but for the libraries that need long."""
    monkeypatch.setattr("fastconv.comparison.libraries.installed", lambda: ["fastconv"])
    code, out, _ = run("bench", "--model", "deep-convnet", "--batch-size", 2, "--rounds", 1, "--json")
    found = last_row(out)
    assert code == 0 and (found["model"], found["batch_size"]) == ("deep-convnet", 2)
    assert set(found["seconds"]["fastconv"]) == {"step", "1 image", "256 images"} and found["memory"]["fastconv"] > 0


def test_the_handler_of_interrupts_is_put_back(run, folder):
    before = signal.getsignal(signal.SIGINT)
    assert run("train", "--data", folder, "--epochs", 1, "--json")[0] == 0
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("save", [True, False])
def test_interrupt_in_an_epoch(run, folder, tmp_path, monkeypatch, interrupt, save):
    interrupt(1, 1)
    monkeypatch.chdir(tmp_path)
    path = Path("m.npz" if save else "fastconv-interrupted.npz")
    words = ["--save", path] if save else ["--history", "a b.csv", "--log-style", "numpy"]
    code, _, err = run("train", "--data", folder, "--epochs", 5, "--batch-size", 20, *words)
    assert code == 1
    assert f"interrupted after 1 epochs and 1 steps; saved to {path}" in err
    again = "" if save else " --history 'a b.csv' --log-style numpy"
    assert f"fastconv train --resume {path} --save {path}{again}\n" in err
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


def test_files_of_another_kind_are_told(run, saved, tmp_path):
    array, page = tmp_path / "a.npy", tmp_path / "page.npz"
    np.save(array, np.zeros((28, 28)))
    code, _, err = run("eval", array)
    assert code == 1 and "a.npy: is not a fastconv checkpoint: it is a NumPy array" in err
    code, _, err = run("train", "lenet5-tensorflow", "--resume", saved)
    assert code == 1 and "m.npz: is not a checkpoint of lenet5-tensorflow" in err
    code, _, err = run("train", "--optimizer", "adam", "--resume", saved)
    assert code == 1 and "m.npz: is not a checkpoint of adam" in err
    checkpoint = load_checkpoint(saved)
    checkpoint.settings["batch_size"] = "x"
    save_checkpoint(page, checkpoint)
    code, _, err = run("train", "--resume", page)
    assert code == 1 and "page.npz: is damaged: no run has the setting batch_size = 'x'" in err
    for words in (("eval", "none.npz"), ("train", "--resume", "none.npz"), ("predict", array, "--weights", "none.npz")):
        code, _, err = run(*words)
        assert code == 1 and err.strip().endswith("none.npz: there is no such file, a fastconv checkpoint was needed")
    code, _, err = run("predict", "none.npy", "--weights", saved)
    assert code == 1 and err.strip().endswith("none.npy: there is no such file, a NumPy file of numbers was needed")
