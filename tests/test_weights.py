"""Weights in safetensors and npz: PyTorch's files load and give PyTorch's logits, what goes in comes out."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same_bits

from fastconv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastconv.errors import DataError, MissingExtraError, ShapeError
from fastconv.models import MODELS
from fastconv.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
)
from fastconv.weights import load_weights, save_weights

FIXTURES = Path(__file__).parent / "fixtures"
SUFFIXES = ("safetensors", "npz")
INSTALLED = [suffix for suffix in SUFFIXES if suffix == "npz" or importlib.util.find_spec(suffix)]


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == "safetensors":
        pytest.importorskip("safetensors")
    return request.param


def cnn(dtype=np.float32):
    """The network of fixtures/make_torch_cnn.py."""
    return Sequential(
        Conv2d(1, 6, 3, 2, 1, dtype=dtype), ReLU(), MaxPool2d(2),
        Conv2d(6, 12, (3, 2), padding=(1, 0), groups=3, bias=False, dtype=dtype), BatchNorm2d(12, dtype=dtype),
        Sigmoid(), AvgPool2d(3, 2, 1),
        Flatten(),
        Linear(144, 20, dtype=dtype), LeakyReLU(0.1), Dropout(0.2), Linear(20, 10, dtype=dtype),
    )  # fmt: skip


def test_weights_of_pytorch_give_its_logits(suffix):
    state = load_weights(FIXTURES / f"torch_cnn.{suffix}")
    x, logits = state.pop("input"), state.pop("logits")
    assert np.ptp(logits) > 5
    for dtype in (np.float32, np.float64):
        model = cnn(dtype)
        model.load_state_dict(state)
        np.testing.assert_allclose(model(x.astype(dtype)), logits, rtol=0, atol=1e-5)
    assert state.keys() == model.state_dict().keys()


def test_both_files_hold_the_same():
    pytest.importorskip("safetensors")
    first, second = (load_weights(FIXTURES / f"torch_cnn.{suffix}") for suffix in SUFFIXES)
    assert first.keys() == second.keys()
    for name in first:
        assert_same_bits(first[name], second[name])


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back(name, suffix, tmp_path):
    path = tmp_path / f"m.{suffix}"
    model, other = MODELS[name](rng=0), MODELS[name](rng=1)
    save_weights(path, model.state_dict())
    other.load_state_dict(load_weights(str(path)))
    for p, q in zip(model.parameters(), other.parameters()):
        assert_same_bits(q.value, p.value)
    assert list(tmp_path.iterdir()) == [path]


DTYPES = ("?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", ">f4", ">i8")


@given(
    st.sampled_from(INSTALLED), st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from(["C", "F", "reversed"]), st.text("abc./0", min_size=1, max_size=8),
)  # fmt: skip
def test_what_goes_in_comes_out(suffix, dtype, shape, order, name):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    array = {"C": array, "F": np.asfortranarray(array), "reversed": array[..., ::-1] if shape else array}[order]
    array = np.asarray(array).reshape(shape)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/w.{suffix}"
        save_weights(path, {name: array, "other": np.float32(3)})
        found = load_weights(path)
    assert found.keys() == {name, "other"}
    np.testing.assert_array_equal(found[name], array)
    assert found[name].dtype == array.dtype.newbyteorder("<")
    assert found[name].shape == array.shape
    assert found[name].flags.writeable
    assert found["other"].shape == ()


def test_bfloat16(tmp_path):
    pytest.importorskip("safetensors")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.array([0x3F80, 0xC040, 0x7F80], "<u2").tobytes())
    np.testing.assert_array_equal(load_weights(path)["w"], np.array([1, -3, np.inf], np.float32), strict=True)


def test_unknown_dtypes_are_named(tmp_path):
    pytest.importorskip("safetensors")
    spans = {"w": ("F8_E5M2", 0, 1), "v": ("F8_E4M3", 1, 2)}
    header = json.dumps({k: {"dtype": d, "shape": [1], "data_offsets": [a, b]} for k, (d, a, b) in spans.items()})
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\0\0")
    with pytest.raises(DataError, match=r"w\.safetensors: holds arrays of F8_E4M3, F8_E5M2; F64, "):
        load_weights(path)


def test_a_checkpoint_s_model(tmp_path):
    path = tmp_path / "c.npz"
    save_checkpoint(path, Checkpoint({"0.weight": np.arange(3.0)}, {"steps": 3}))
    found = load_weights(path)
    assert list(found) == ["0.weight"]
    np.testing.assert_array_equal(found["0.weight"], [0, 1, 2])


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated(suffix, tmp_path, share):
    content = (FIXTURES / f"torch_cnn.{suffix}").read_bytes()
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=rf"w\.{suffix}: is not an? {suffix} file.*, or is damaged"):
        load_weights(path)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04" + b"x" * 100, b"\x80\x04N.", b"\xff" * 64])
def test_another_kind_of_file(suffix, tmp_path, content):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"w\.{suffix}: is not an? {suffix} file"):
        load_weights(path)


def test_npz_files_of_something_else(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, w=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="is not an npz file of numeric arrays"):
        load_weights(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataError, match="is not an npz file of numeric arrays"):
        load_weights(path)
    np.savez(path, facts=np.array("{}"))
    with pytest.raises(DataError, match="is not a fastconv checkpoint"):
        load_weights(path)


def test_damaged_npz_files(tmp_path):
    """Wherever a byte is another one, what comes is weights or a DataError."""
    path, rng = tmp_path / "w.npz", np.random.default_rng(0)
    np.savez_compressed(path, a=np.arange(50.0), b=np.arange(9))
    whole, found = path.read_bytes(), []
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        try:
            load_weights(path)
        except DataError:
            found.append(place)
    assert len(found) > len(whole) // 4


def test_errors(tmp_path):
    for call in (lambda: save_weights(tmp_path / "w.pt", {}), lambda: load_weights(tmp_path / "w.pt")):
        with pytest.raises(ValueError, match=r"_weights: path must end in \.safetensors or \.npz, got '.*w\.pt'"):
            call()
    with pytest.raises(TypeError, match=r"save_weights: a\.b must have dtype float32, .* got <U1"):
        save_weights(tmp_path / "w.npz", {"a.b": np.array("x")})
    with pytest.raises(TypeError, match="save_weights: state must be a state_dict, got Sequential"):
        save_weights(tmp_path / "w.npz", cnn())
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        save_weights(tmp_path / "none" / "w.npz", {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError, match=r"missing \[\], unknown \['input', 'logits'\]"):
        cnn().load_state_dict(load_weights(FIXTURES / "torch_cnn.npz"))
    with pytest.raises(ShapeError, match=r"0\.weight must have shape \(6, 1, 5, 5\), got \(6, 1, 3, 3\)"):
        Sequential(Conv2d(1, 6, 5)).load_state_dict(load_weights(FIXTURES / "torch_cnn.npz"), strict=False)


def test_a_failing_write_leaves_the_old_file(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"w.{suffix}"
    save_weights(path, {"w": np.zeros(1)})
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("fastconv.data.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(path, {"w": np.ones(1)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fastconv\[safetensors\]"'):
        save_weights(tmp_path / "w.safetensors", {})
    with pytest.raises(MissingExtraError, match=r'pip install "fastconv\[safetensors\]"'):
        load_weights(FIXTURES / "torch_cnn.safetensors")


def npz(path, **members):
    """An npz file of members given as bytes, with right checksums."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(header, data=b""):
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode("latin-1") + data


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,",  # tokenize.TokenError in NumPy
        "{'descr': '<f4', 'fortran_order': False, 'shape': (((((", "{'descr': '\\N', 'fortran_order': 1, 'shape': ()}",
        "-" * 9000, "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "{}", "\xff\0",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (4611686018427387904,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
    ],
)  # fmt: skip
def test_headers_that_lie(tmp_path, header):
    """Nothing is raised but a DataError, and no memory is taken for what is not there."""
    path = npz(tmp_path / "w.npz", a=npy(header, bytes(8)))
    with pytest.raises(DataError, match=r"w\.npz: is not an npz file of numeric arrays, or is damaged \(.+\)"):
        load_weights(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_headers_as_others_write_them(tmp_path, order):
    wanted = np.arange(6, dtype=">f4").reshape(2, 3)
    text = f'{{"shape":(2L,3L), "fortran_order" : {order == "F"},\t"descr": ">f4"}}\n'
    found = load_weights(npz(tmp_path / "w.npz", a=npy(text, wanted.tobytes(order))))
    np.testing.assert_array_equal(found["a"], wanted, strict=True)


def test_what_a_small_file_unpacks_to_is_bounded(tmp_path):
    path = tmp_path / "w.npz"
    np.savez_compressed(path, a=np.zeros(1 << 17), b=np.zeros(1 << 17))
    assert path.stat().st_size < 10_000
    assert load_weights(path, max_bytes=1 << 40).keys() == {"a", "b"}
    for read in (load_weights, load_checkpoint):
        with pytest.raises(DataError, match=r"w\.npz: unpacks to 2,097,\d\d\d bytes, at most 1,000,000 were allowed"):
            read(path, max_bytes=1_000_000)
        with pytest.raises(TypeError, match=r"max_bytes must be an integer, got 1\.5"):
            read(path, max_bytes=1.5)
        with pytest.raises(ValueError, match=r"max_bytes must be at least 0, got -1"):
            read(path, max_bytes=-1)
    content = bytearray(path.read_bytes())
    for place in (i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"):  # the directory's claim
        content[place + 24 : place + 28] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"w\.npz: unpacks to 4,294,967,296 bytes, at most 1,073,741,824"):
        load_weights(path)


def test_safetensors_that_name_no_memory(tmp_path):
    pytest.importorskip("safetensors")
    header = json.dumps({"w": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DataError, match=r"w\.safetensors: is not a safetensors file, or is damaged"):
        load_weights(path)


def test_files_of_another_kind_are_named(tmp_path):
    pytest.importorskip("safetensors")
    content = (FIXTURES / "torch_cnn.safetensors").read_bytes()
    (tmp_path / "w.npz").write_bytes(content)
    for read in (load_weights, load_checkpoint):
        with pytest.raises(DataError, match=r"w\.npz: is not an? .*: it is a safetensors file"):
            read(tmp_path / "w.npz")
    (tmp_path / "w.safetensors").write_bytes((FIXTURES / "torch_cnn.npz").read_bytes())
    with pytest.raises(DataError, match="is not a safetensors file: it is an npz or other zip file"):
        load_weights(tmp_path / "w.safetensors")


def test_a_missing_file_says_what_was_wanted(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"n\.npz: there is no such file, an npz file of .* was needed$"):
        load_weights(tmp_path / "n.npz")
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"d\.npz: is a folder, an npz file of numeric arrays was needed$"):
        load_weights(tmp_path / "d.npz")
    with pytest.raises(TypeError, match=r"load_weights: path is a NoneType, a str or os\.PathLike was needed"):
        load_weights(None)
    with pytest.raises(ValueError, match=r"'a\\x00\.npz' cannot be the name of a file"):
        load_weights("a\0.npz")
