"""Pickled dictionaries of arrays are read, and nothing that a pickle names is run."""

from __future__ import annotations

import collections
import functools
import os
import pickle
import struct

import numpy as np
import pytest

from fastconv.compat.pickles import load_pickle, save_pickle
from fastconv.errors import DataError

ARRAYS = {
    "W1": np.arange(24.0).reshape(2, 3, 4),
    "b1": np.zeros(3, np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "ids": np.array([1, -2], ">i4"),
    "mask": np.array([True, False]),
    "nothing": np.zeros((0, 3)),
    "number": np.array(2.5),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol(tmp_path, protocol):
    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps(ARRAYS, protocol))
    found = load_pickle(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


def test_older_numpy_s_names(tmp_path):
    """NumPy 1 called its inner package `core`."""
    path = tmp_path / "params.pkl"
    text = pickle.dumps({"b": np.arange(3.0)}, 2)
    assert b"numpy._core.multiarray" in text
    path.write_bytes(text.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    np.testing.assert_array_equal(load_pickle(path)["b"], np.arange(3.0))


def test_what_is_written_is_a_plain_pickle(tmp_path):
    save_pickle(tmp_path / "params.pkl", ARRAYS)
    found = pickle.loads((tmp_path / "params.pkl").read_bytes())
    assert type(found) is dict
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def ran(*_):
    pytest.fail("a pickle ran code")


class Called:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


class Stated:
    def __reduce__(self):
        return (object, (), {"a": 1})


MALICIOUS = {
    "a command": Called(os.system, ("touch pwned",)),
    "eval": Called(eval, ("__import__('os').system('touch pwned')",)),
    "a function of the package": Called(np.load, ("params.pkl",)),
    "an array made by a call": Called(np.zeros, (3,)),
    "a partial": functools.partial(os.system, "touch pwned"),
    "a class": collections.OrderedDict(W=np.zeros(2)),
    "an instance": Stated(),
    "objects in an array": np.array([Called(ran, ())], dtype=object),
    "a record": np.zeros(2, [("a", "f8")]),
    "text": np.array(["a"]),
    "complex numbers": np.zeros(2, complex),
    "a list": [1, 2],
    "a set": {1},
    "a number": 3.5,
    "a dictionary": {"W1": np.zeros(2)},
    "a subclass": np.ma.masked_array(np.zeros(2), [True, False]),
    "a dtype": np.dtype("f8"),
}


@pytest.mark.parametrize("kind", MALICIOUS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_everything_else_is_refused(tmp_path, monkeypatch, kind, protocol):
    monkeypatch.chdir(tmp_path)
    for content in ({"W1": np.ones(2), "b1": MALICIOUS[kind]}, MALICIOUS[kind]):
        if kind == "a dictionary" and content is MALICIOUS[kind]:
            continue
        (tmp_path / "params.pkl").write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(DataError, match=r"params\.pkl"):
            load_pickle(tmp_path / "params.pkl")
        assert os.listdir(tmp_path) == ["params.pkl"]


def test_it_is_looked_through_before_it_is_read(tmp_path):
    """What builds anything but dictionaries of arrays is not reached, whatever comes before it."""
    (tmp_path / "params.pkl").write_bytes(pickle.dumps({"W1": np.ones(2), "b1": [1]}, 2))
    with pytest.raises(DataError, match="may hold arrays by name and nothing else, got the opcode EMPTY_LIST"):
        load_pickle(tmp_path / "params.pkl")


def op(text):
    return pickle.PROTO + b"\x02" + text + pickle.STOP


RAW = {
    "a stand-in that is not called": op(b"cnumpy\nndarray\n."),
    "a call of an array": op(b"cnumpy\nndarray\n(tR"),
    "a name in a name": op(pickle.PROTO + b"\x04\x8c\x05numpy\x8c\x0adtype.name\x93"),
    "an extension": op(b"\x82\x01"),
    "a persistent id": op(b"X\x01\x00\x00\x00aQ"),
    "a place far away": op(b"}r\xff\xff\xff\x7f"),
    "a number for a key": op(b"}K\x01K\x02s"),
    "an array without numbers": op(b"}X\x01\x00\x00\x00Wcnumpy._core.multiarray\n_reconstruct\n)Rs"),
    "codecs": op(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R"),
    "nothing": b"",
    "text as bytes": b"not a pickle",
    "half": pickle.dumps(ARRAYS)[:200],
}


@pytest.mark.parametrize("kind", RAW)
def test_damage_is_told(tmp_path, kind):
    path = tmp_path / "params.pkl"
    path.write_bytes(RAW[kind])
    with pytest.raises(DataError, match=r"params\.pkl"):
        load_pickle(path)


def test_sizes_that_are_not_there(tmp_path):
    """An array that claims more elements than the file has is not made."""
    path = tmp_path / "params.pkl"
    text = pickle.dumps({"b": np.arange(3.0)}, 4)
    place = text.index(b"K\x03\x85")  # the shape, (3,)
    path.write_bytes(
        text[:place].replace(b"\x95", b"\x95", 1) + b"J" + struct.pack("<i", 2**31 - 1) + text[place + 2 :]
    )
    with pytest.raises(DataError):
        load_pickle(path)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a pickled dictionary of arrays was needed"):
        load_pickle(tmp_path / "none.pkl")
