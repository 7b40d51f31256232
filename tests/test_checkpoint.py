"""Checkpoints: what goes in comes out, and every damaged file is told from a good one."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from fastconv.checkpoint import Checkpoint, build_model, load_checkpoint, load_model, save_checkpoint
from fastconv.errors import DataError
from fastconv.models import lenet5
from fastconv.optim import SGD
from fastconv.training import History, Position


@pytest.fixture
def saved(tmp_path):
    model = lenet5(rng=0)
    optimizer = SGD(model.parameters(), 0.1, 0.9)
    checkpoint = Checkpoint(
        model.state_dict(), optimizer.state_dict(), {"a": [1, 0.1, None, "ü"]},
        History([{"epoch": 1, "train_loss": 1 / 3}]), Position(1, 2, 0.1 + 0.2, 64, 1.5),
    )  # fmt: skip
    path = tmp_path / "c.npz"
    save_checkpoint(path, checkpoint)
    return path, checkpoint


def test_round_trip(saved):
    path, checkpoint = saved
    back = load_checkpoint(path)
    assert (back.settings, back.history, back.position) == (
        checkpoint.settings, checkpoint.history, checkpoint.position
    )  # fmt: skip
    for found, wanted in ((back.model, checkpoint.model), (back.optimizer, checkpoint.optimizer)):
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])
            assert found[name].dtype == np.asarray(wanted[name]).dtype
    assert list(path.parent.iterdir()) == [path]


def test_weights_alone(tmp_path):
    path = tmp_path / "no-suffix"  # the name is kept as it is
    save_checkpoint(str(path), Checkpoint({"w": np.arange(3.0)}))
    back = load_checkpoint(str(path))
    np.testing.assert_array_equal(back.model["w"], [0, 1, 2])
    assert (back.optimizer, back.settings, back.history, back.position) == ({}, {}, History(), Position())


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated(saved, share):
    path, _ = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"c\.npz: is not a fastconv checkpoint"):
        load_checkpoint(path)


def test_a_changed_byte_is_found(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"c\.npz"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"x" * 100, b"\x80\x04N."])
def test_not_an_npz(tmp_path, content):
    path = tmp_path / "c.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"c\.npz: is not a fastconv checkpoint"):
        load_checkpoint(path)


def test_other_numpy_files(tmp_path):
    path = tmp_path / "c.npz"
    for save in (
        lambda: np.savez(path, a=np.ones(3)),
        lambda: np.savez(path, facts=np.array("not json")),
        lambda: np.savez(path, facts=np.array("[]")),
        lambda: np.savez(path, facts=np.array("{}")),
        lambda: np.savez(path, facts=np.array({"mark": 1}, dtype=object)),
    ):
        save()
        with pytest.raises(DataError, match="is not a fastconv checkpoint"):
            load_checkpoint(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataError, match="is not a fastconv checkpoint"):
        load_checkpoint(path)
    np.savez(path, facts=np.array('{"mark": "fastconv-checkpoint-9"}'))
    with pytest.raises(DataError, match="another version"):
        load_checkpoint(path)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        save_checkpoint(tmp_path / "none" / "c.npz", Checkpoint({}))


@pytest.mark.parametrize("where", ["fastconv.data.files.os.replace", "fastconv.checkpoint.np.savez"])
def test_a_failing_write_leaves_the_old_file(saved, monkeypatch, where):
    path, _ = saved
    before = path.read_bytes()

    def fail(file, *_, **__):
        if hasattr(file, "write"):
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(where, fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, Checkpoint({"w": np.zeros(1)}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_objects_are_not_pickled(tmp_path):
    with pytest.raises(ValueError):
        save_checkpoint(tmp_path / "c.npz", Checkpoint({"w": np.array([{}], dtype=object)}))
    assert list(tmp_path.iterdir()) == []


FACTS = {"mark": "fastconv-checkpoint-1", "settings": {}, "history": [], "position": {}}


@pytest.mark.parametrize(
    "name, value",
    [
        ("settings", []), ("settings", "x"), ("settings", None), ("history", {}), ("history", [1]), ("history", None),
        ("position", []), ("position", {"epoch": "1"}), ("position", {"loss": None}), ("position", {"odd": 1}),
        ("position", {"epoch": True}), ("position", {"step": -1}), ("position", None), ("mark", None),
    ],
)  # fmt: skip
def test_facts_of_another_kind(tmp_path, name, value):
    path = tmp_path / "c.npz"
    np.savez(path, facts=np.array(json.dumps(FACTS | {name: value})))
    with pytest.raises(DataError, match=r"c\.npz: is (not a fastconv checkpoint, or is damaged|a checkpoint of an)"):
        load_checkpoint(path)


SETTINGS = {"model": "lenet5", "data": "digits", "dtype": "float32", "seed": 0, "classes": 10, "shape": [1, 28, 28]}


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("model", [], "no run has the setting model"), ("classes", 10**12, "its weights do not have"),
        ("shape", [10**9, 28, 28], "its weights do not have"), ("shape", [1, 10**9, 28], "no run has"),
        ("shape", 3, "no run has"), ("dtype", "float16", "no run has"), ("seed", -1, "no run has"),
        ("data", None, "no run has"), ("shape", [1, 20, 28], "is not a checkpoint of lenet5"),
        ("classes", 6, "is not a checkpoint of lenet5"), ("model", "small-resnet", "checkpoint of small-resnet"),
    ],
)  # fmt: skip
def test_settings_of_another_kind(tmp_path, name, value, said):
    """Told before a model of that size is made, and with the file's name."""
    path = tmp_path / "c.npz"
    save_checkpoint(path, Checkpoint(lenet5(rng=0).state_dict(), settings=SETTINGS))
    assert load_model(path)[1].settings == SETTINGS
    save_checkpoint(path, Checkpoint(lenet5(rng=0).state_dict(), settings=SETTINGS | {name: value}))
    with pytest.raises(DataError, match=rf"c\.npz: .*{said}"):
        load_model(path)


def test_a_size_that_is_too_large_for_the_weights(tmp_path):
    """A model whose linear layer follows from the size is not made with billions of weights."""
    path, settings = tmp_path / "c.npz", SETTINGS | {"model": "mnist-cnn", "shape": [1, 6, 7]}
    state = build_model(settings).state_dict()
    save_checkpoint(path, Checkpoint(state, settings=settings))
    assert load_model(path)[0].output_shape((2, 1, 6, 7)) == (2, 10)
    for shape, said in (([1, 8000, 8000], "its weights do not have"), ([1, 12, 12], "is not a checkpoint of mnist")):
        save_checkpoint(path, Checkpoint(state, settings=settings | {"shape": shape}))
        with pytest.raises(DataError, match=rf"c\.npz: .*{said}"):
            load_model(path)


def test_files_of_another_kind_are_named(tmp_path):
    path = tmp_path / "c.npz"
    for content, kind in [
        (b"\x93NUMPY\1\0", "a NumPy array"), (b"\x80\x02}q\0.", "a pickle"), (b"\x89HDF\r\n", "an HDF5 file"),
        (b"<!DOCTYPE html>", "an HTML page"), (b"\x89PNG\r\n", "a PNG picture"),
    ]:  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"c\.npz: is not a fastconv checkpoint: it is {kind}") as caught:
            load_checkpoint(path)
        assert "allow_pickle" not in str(caught.value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(DataError, match="is not a fastconv checkpoint: it is a PyTorch file"):
        load_checkpoint(path)
    np.savez(path, w=np.ones(3))
    with pytest.raises(DataError, match="it is an npz file of other arrays, which load_weights reads"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r"n\.npz: there is no such file, a fastconv checkpoint was needed$"):
        load_checkpoint(tmp_path / "n.npz")
