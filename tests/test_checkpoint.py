"""Checkpoints: what goes in comes out, and every damaged file is told from a good one."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
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


@pytest.mark.parametrize("where", ["fastconv._files.os.replace", "fastconv.checkpoint.np.savez"])
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
