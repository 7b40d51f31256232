"""Files that are read: whatever a damaged one makes a library raise becomes a DataError that names the file.

Nothing in a file is ever unpickled, and nothing is made larger than what is there, or allowed, can fill.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastconv.errors import DataError, RangeError, TooLargeError

UNPACKED = 1 << 30
_CHUNK = 1 << 20
_LONGEST_HEADER = 10_000  # as NumPy's
# of .npy files as NumPy and others write them, the keys in any order
_HEADER = re.compile(r"\s*\{(?:\s*'\w+'\s*:\s*(?:'[^']*'|True|False|\([\dL,\s]*\))\s*(?:,|(?=\})))*\s*\}\s*", re.ASCII)
_PAIR = re.compile(r"'(\w+)'\s*:\s*(?:'([^']*)'|(True|False)|\(([\dL,\s]*)\))", re.ASCII)
_NUMBERS_OR_TEXT = re.compile(r"[<>=|]?[?biufcSU]\d*", re.ASCII)
_STARTS = {
    b"PK": "an npz or other zip file",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x80\x02": "a pickle, as older PyTorch writes it; write its state_dict as .safetensors or .npz",
    b"\x80\x04": "a pickle; write its arrays as .safetensors or .npz",
    b"\x89HDF": "an HDF5 file, as Keras writes it; write its arrays as .safetensors or .npz",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF file",
    b"\x1f\x8b": "a gzip file",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
}
_UNNAMED = re.compile(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>")  # what Pillow calls bytes that it was given
_SAFETENSORS = "a safetensors file; load_weights reads its weights"
_PYTORCH = "a PyTorch file; write its state_dict as .safetensors or .npz"


def as_path(who: str, path: Any) -> Path:
    """`path` as a Path, a TypeError that names the function otherwise."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{who}: path is a {type(path).__name__}, a str or os.PathLike was needed")
    return Path(path)


@contextlib.contextmanager
def opening(path: str | os.PathLike[str], wanted: str) -> Iterator[None]:
    """An OSError inside is raised again with a text that names the file and what was wanted."""
    try:
        yield
    except OSError as error:
        reasons = {errno.ENOENT: "there is no such file", errno.EISDIR: "is a folder"}
        reason = reasons.get(error.errno or 0) or f"cannot be read ({(error.strerror or str(error)).lower()})"
        told = type(error)(f"{path}: {reason}, {wanted} was needed")
        told.errno = error.errno
        raise told from None
    except ValueError as error:  # a NUL, or half a character
        raise ValueError(f"{str(path)!r} cannot be the name of a file ({error}), {wanted} was needed") from None


def content_of(path: str | os.PathLike[str], wanted: str) -> bytes:
    """All bytes of a file; an OSError names it and what was wanted."""
    with opening(path, wanted):
        return Path(path).read_bytes()


@contextlib.contextmanager
def damage(path: str | os.PathLike[str], wanted: str, content: bytes = b"") -> Iterator[None]:
    """Whatever is raised inside becomes a DataError that names the file, what was wanted, and what else it may be.

    Args:
        path: the file.
        wanted: what it should be, as "an npz file".
        content: its bytes, or its beginning, by which another kind of file is told.
    """
    try:
        yield
    except DataError:
        raise  # it names the file already
    except MemoryError as error:
        raise TooLargeError(f"{path}: does not fit into memory as {wanted}") from error
    except Exception as error:  # no list of them: what zipfile, NumPy, JSON and Pillow stumble over has no end
        kind = _kind(content, wanted)
        said = str(error.args[0] if isinstance(error, KeyError) and error.args else error) or type(error).__name__
        said = _UNNAMED.sub("", said)
        reason = f": it is {kind}" if kind else f", or is damaged ({said})"
        raise DataError(f"{path}: is not {wanted}{reason}") from error


def unpacked_limit(who: str, packed: int, max_bytes: int | None) -> int:
    """How many bytes a file of `packed` bytes may unpack to: `max_bytes`, or 1 GiB, or its own size if that is more."""
    if max_bytes is None:
        return max(UNPACKED, packed)
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int | np.integer):
        raise TypeError(f"{who}: max_bytes must be an integer, got {max_bytes!r}")
    if max_bytes < 0:
        raise RangeError(f"{who}: max_bytes must be at least 0, got {max_bytes}")
    return int(max_bytes)


def check_unpacked(path: str | os.PathLike[str], size: int, limit: int) -> None:
    """Raise a DataError where a file claims to unpack to more than it may."""
    if size > limit:
        raise DataError(f"{path}: unpacks to {size:,} bytes, at most {limit:,} were allowed; max_bytes allows more")


def read_npz(
    who: str, path: str | os.PathLike[str], wanted: str, max_bytes: int | None = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays of numbers or text in an npz file, by name.

    Raises:
        DataError: the file is damaged, something else, or unpacks to more than `max_bytes`.
    """
    path = as_path(who, path)
    content = content_of(path, wanted)
    limit = unpacked_limit(who, len(content), max_bytes)
    beginning = b"" if content.startswith(b"PK") else content
    with damage(path, wanted, beginning), zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.NameToInfo
        if any(name.endswith("data.pkl") for name in members):
            raise DataError(f"{path}: is not {wanted}: it is {_PYTORCH}")
        check_unpacked(path, sum(member.file_size for member in members.values()), limit)
        return {name.removesuffix(".npy"): _member(archive, member) for name, member in members.items()}


def read_npy(path: str | os.PathLike[str], wanted: str) -> np.ndarray:
    """The array of numbers or text in a .npy file; a DataError if it is damaged, or something else."""
    content = content_of(path, wanted)
    with damage(path, wanted, b"" if content.startswith(b"\x93NUMPY") else content):
        return _array(io.BytesIO(content), len(content))


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bounds
        raise ValueError(f"{member.filename} is compressed in a way that NumPy does not use")
    with archive.open(member) as stream:
        try:
            return _array(stream, member.file_size)
        except ValueError as error:
            raise ValueError(f"{member.filename}: {error}") from error


def _array(stream: IO[bytes], size: int) -> np.ndarray:
    """Read an array from a stream of `size` bytes; nothing is reserved unless they are what the header says."""
    dtype, fortran, shape, start = _header(stream)
    needed = math.prod(shape) * dtype.itemsize
    if size - start != needed:
        raise ValueError(f"{size - start} bytes follow the header, {needed} were needed for {shape} of {dtype}")
    array = np.empty(shape[::-1] if fortran else shape, dtype)
    view = array.reshape(-1).view(np.uint8) if needed else np.empty(0, np.uint8)
    for place in range(0, needed, _CHUNK):
        chunk = stream.read(min(_CHUNK, needed - place))
        view[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
        if len(chunk) < min(_CHUNK, needed - place):
            raise ValueError(f"{place + len(chunk)} bytes follow the header, {needed} were needed")
    return array.transpose() if fortran else array


def _header(stream: IO[bytes]) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    """The dtype, whether the order is Fortran's, the shape, and where the numbers begin.

    Not NumPy's reader, which runs Python's parser on what it finds: it warns, and raises nearly everything there is.
    """
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError("it holds no NumPy array")
    count = 2 if magic[6] == 1 else 4
    length = int.from_bytes(stream.read(count), "little")
    text = stream.read(min(length, _LONGEST_HEADER)).decode("latin-1").replace('"', "'")
    if len(text) != length or not _HEADER.fullmatch(text):
        raise ValueError("its header describes no array of numbers")
    found = {pair[1]: pair[2] or pair[3] or pair[4] or "" for pair in _PAIR.finditer(text)}
    if found.keys() != {"descr", "fortran_order", "shape"} or found["fortran_order"] not in ("True", "False"):
        raise ValueError("its header describes no array of numbers")
    if not _NUMBERS_OR_TEXT.fullmatch(found["descr"]):
        raise ValueError(f"its header tells of {found['descr']!r}, numbers were needed")
    parts = [part.strip().rstrip("L") for part in found["shape"].split(",")]  # Python 2 wrote 3L
    shape = tuple(int(part) for part in (parts if parts[-1] else parts[:-1]))
    dtype = np.dtype(found["descr"])
    if len(shape) > 64 or not dtype.itemsize:
        raise ValueError(f"its header tells of rank {len(shape)} and {dtype}")
    return dtype, found["fortran_order"] == "True", shape, 8 + count + length


def _kind(content: bytes, wanted: str) -> str | None:
    """What another kind of file this is, by its beginning; None if that is not known."""
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content):
        kind = _SAFETENSORS
    else:
        kind = next((kind for start, kind in _STARTS.items() if content.startswith(start)), "")
    return None if wanted.partition(" ")[2] in kind else kind or None
