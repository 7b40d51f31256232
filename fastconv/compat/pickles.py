"""Pickled dictionaries of arrays, read without running anything that they name.

A pickle is a program. Here it is looked through first: only opcodes that build dictionaries, tuples, text, bytes and
integers are allowed, and those that call something. What they call are the names by which NumPy's arrays are
pickled, and behind these names stand the small classes of this file, which check what they are given.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import re
from typing import Any

import numpy as np

from fastconv.data.files import written_atomically
from fastconv.data.reading import content_of, damage
from fastconv.errors import DataError

_WANTED = "a pickled dictionary of arrays"
_NUMBERS = re.compile(r"[<>=|]?[biuf][1248]")
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK EMPTY_DICT DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 NONE "
    "NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 UNICODE SHORT_BINUNICODE BINUNICODE STRING "
    "BINSTRING SHORT_BINSTRING SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 PUT BINPUT LONG_BINPUT "
    "MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)


def save_pickle(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    """Write a dictionary of arrays as the books' scripts do and read it, whole or not at all."""
    content = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with written_atomically(path) as file:
        pickle.dump(content, file, protocol=4)


def load_pickle(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of numbers in a pickled dictionary, by name; nothing that the file names is imported or called.

    Raises:
        DataError: the file is something else, is damaged, or holds anything but arrays of numbers by their names.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_pickle(f"{folder}/params.pkl", {"b1": np.zeros(2)})
        ...     load_pickle(f"{folder}/params.pkl")
        {'b1': array([0., 0.])}
    """
    content = content_of(path, _WANTED)
    beginning = b"" if content.startswith(b"\x80") else content
    with damage(path, _WANTED, beginning):
        _look_through(path, content)
        found = _Reader(io.BytesIO(content), encoding="latin1").load()
        if type(found) is not dict:
            raise DataError(f"{path}: is not {_WANTED}, it holds a {type(found).__name__}")
        for name, value in found.items():
            if type(name) is not str or type(value) is not _Array or value.array is None:
                raise DataError(f"{path}: may hold arrays by name and nothing else, got {name!r}")
        return {name: value.array for name, value in found.items()}


def _look_through(path: str | os.PathLike[str], content: bytes) -> None:
    count = 0
    for opcode, argument, _ in pickletools.genops(content):
        count += 1
        if opcode.name not in _OPCODES:
            raise DataError(f"{path}: may hold arrays by name and nothing else, got the opcode {opcode.name}")
        # the reader makes its table as long as the largest place
        if opcode.name.endswith("PUT") and not 0 <= int(argument or 0) <= count:
            raise DataError(f"{path}: is not {_WANTED}, or is damaged")


class _DType:
    """Stands for `numpy.dtype`."""

    def __init__(self, text: Any, align: Any = False, copy: Any = True):
        if not isinstance(text, str) or not _NUMBERS.fullmatch(text):
            raise ValueError(f"it holds an array of {text!r}, numbers were needed")
        self.text = text.lstrip("<>=|")
        self.order = text[0] if text[0] in "<>=|" else "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ValueError("it holds an array of unknown numbers")
        self.order = state[1]

    def numbers(self, content: Any, shape: Any, fortran: bool) -> np.ndarray:
        """The array of these bytes."""
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 64:
            raise ValueError("it holds an array of unknown shape")
        raw = content.encode("latin1") if isinstance(content, str) else content
        dtype = np.dtype(self.order + self.text)
        if not isinstance(raw, bytes | bytearray) or len(raw) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"it holds an array of shape {shape} without its numbers")
        array = np.frombuffer(raw, dtype).reshape(shape[::-1] if fortran else shape)
        # bool is 0 or 1 in memory; any other byte would be neither
        array = array.view(np.uint8) != 0 if dtype.kind == "b" else array.astype(dtype.newbyteorder("="))
        return array.T if fortran else array


class _Array:
    """Stands for an array that is made first and filled then."""

    array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _DType):
            raise ValueError("it holds an array that is damaged")
        self.array = state[2].numbers(state[4], state[1], bool(state[3]))


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    if not isinstance(dtype, _DType):
        raise ValueError("it holds an array that is damaged")
    found = _Array()
    found.array = dtype.numbers(content, shape, order == "F")
    return found


def _no_bytes() -> bytes:
    return b""  # how older protocols write them


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("it holds bytes in an unknown form")
    return text.encode("latin1")


_STAND_INS = {
    "numpy.dtype": _DType,
    "numpy.ndarray": None,  # is handed on, not called
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[f"{module}.{name}"]
        except KeyError:
            raise ValueError(f"it names {module}.{name}; it may hold arrays by name and nothing else") from None

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it refers to something outside")
