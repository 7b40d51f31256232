"""IDX, the file format of MNIST: one array of any rank, big-endian, plain or gzipped.

A file is two zero bytes, an element type, the rank, one big-endian uint32 for each size, then the elements in C order.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits",
section "File formats", http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data.files import written_atomically
from fastconv.data.reading import as_path, check_unpacked, opening, unpacked_limit
from fastconv.errors import DataError, DTypeError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {dtype[1:]: code for code, dtype in _TYPES.items()}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<!--", b"<?xml")


def read_idx(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> NDArray[Any]:
    """Read the array in an IDX file; the content, not the name, tells whether it is gzipped.

    Args:
        path: the file.
        max_bytes: how many bytes it may unpack to; by default 1 GiB, or its own size if that is more.

    Returns:
        Array of the file's rank and sizes; uint8, int8, int16, int32, float32 or float64, native-endian,
        C-contiguous, writeable.

    Raises:
        DataError: the file is empty, not IDX, truncated, corrupt, not as long as its header says, or unpacks to more
            than ``max_bytes``.
        FileNotFoundError: there is no such file. IsADirectoryError: it is a folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_idx(folder + "/a.gz", np.arange(6, dtype=np.int16).reshape(2, 3))
        ...     read_idx(folder + "/a.gz")
        array([[0, 1, 2],
               [3, 4, 5]], dtype=int16)
    """
    file = as_path("read_idx", path)
    with open_decompressed(file, "read_idx") as stream:
        limit = unpacked_limit("read_idx", file.stat().st_size, max_bytes)
        dtype, shape = _read_header(stream, file)
        payload = _read_payload(stream, file, dtype, shape, limit)
    try:
        # Zero sizes beside huge ones, and ranks above NumPy's limit, are found by NumPy itself.
        return np.frombuffer(payload, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    except ValueError as error:
        raise DataError(f"read_idx: {file} has rank {len(shape)} and sizes NumPy cannot hold ({error})") from error


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an array of any rank as an IDX file, whole or not at all; gzipped when the name ends in ``.gz``.

    The same array gives the same bytes: no time and no name go into the gzip header.

    Raises:
        DTypeError (a TypeError): ``array`` is not an ndarray of uint8, int8, int16, int32, float32 or float64.
        DataError: a size does not fit 32 bits.
        FileNotFoundError: the folder does not exist. IsADirectoryError: ``path`` is a folder.
    """
    file = as_path("write_idx", path)
    header = _make_header(array)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"write_idx: the folder of {file} does not exist")
    if file.is_dir():
        raise IsADirectoryError(f"write_idx: {file} is a folder, the name of a file was needed")
    payload = array.astype(_TYPES[header[2]], copy=False).tobytes(order="C")
    with written_atomically(file) as raw:
        if file.name.endswith(".gz"):
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
                zipped.write(header)
                zipped.write(payload)
        else:
            raw.write(header)
            raw.write(payload)


def read_labelled_images(who: str, images_path: Path, labels_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images (N, C, H, W) uint8 and labels (N,) int64; DataError names the file that is not what it should be."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim == 1:
        raise DataError(f"{who}: {images_path} holds labels (rank 1), images of rank 3 or 4 were needed")
    if images.ndim not in (3, 4) or images.dtype != np.uint8:
        raise DataError(
            f"{who}: {images_path} has rank {images.ndim} and dtype {images.dtype}, rank 3 or 4 and uint8 were needed"
        )
    if images.size == 0:
        raise DataError(f"{who}: {images_path} has shape {images.shape}, at least one image of one pixel was needed")
    if labels.ndim != 1:
        raise DataError(f"{who}: {labels_path} holds images (rank {labels.ndim}), labels of rank 1 were needed")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{who}: {labels_path} has dtype {labels.dtype}, integers were needed")
    if len(images) != len(labels):
        raise DataError(f"{who}: {images_path} has {len(images)} images, {labels_path} has {len(labels)} labels")
    if labels.min() < 0:
        raise DataError(f"{who}: {labels_path} has label {labels.min()}, labels of at least 0 were needed")
    return (images if images.ndim == 4 else images[:, np.newaxis]), labels.astype(np.int64)


@contextmanager
def open_decompressed(file: Path, who: str) -> Iterator[BufferedIOBase]:
    """Open a file for reading through gzip if it is gzipped; a broken gzip raises DataError in the with block."""
    if file.is_dir():
        raise IsADirectoryError(f"{who}: {file} is a folder, a file was needed")
    with opening(f"{who}: {file}", "a file of data"):
        raw = file.open("rb")
    with raw:
        zipped = raw.peek(2)[:2] == _GZIP_MAGIC
        try:
            if zipped:
                with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                    yield stream
            else:
                yield raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{who}: {file} is a corrupt or truncated gzip file ({error})") from error


def _read_header(stream: BufferedIOBase, file: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if not magic:
        raise DataError(f"read_idx: {file} is empty, an IDX header of at least 4 bytes was needed")
    if magic[:2] != b"\0\0"[: len(magic)]:
        if (magic + stream.read(256)).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
            raise DataError(f"read_idx: {file} is not an IDX file but an HTML page, such as servers answer with errors")
        raise DataError(f"read_idx: {file} is not an IDX file: it starts with {magic.hex(' ')}, 00 00 was needed")
    if len(magic) < 4:
        raise DataError(f"read_idx: {file} has a truncated header: {len(magic)} bytes, at least 4 were needed")
    code, rank = magic[2], magic[3]
    if code not in _TYPES:
        known = ", ".join(f"0x{known:02X}" for known in _TYPES)
        raise DataError(f"read_idx: {file} is not an IDX file: element type 0x{code:02X}, one of {known} was needed")
    encoded = stream.read(4 * rank)
    if len(encoded) < 4 * rank:
        raise DataError(
            f"read_idx: {file} has a truncated header: "
            f"{4 + len(encoded)} bytes, {4 + 4 * rank} were needed for rank {rank}"
        )
    return np.dtype(_TYPES[code]), tuple(np.frombuffer(encoded, ">u4").tolist())


def _read_payload(
    stream: BufferedIOBase, file: Path, dtype: np.dtype[Any], shape: tuple[int, ...], limit: int
) -> bytearray:  # fmt: skip
    """Read to the end of the file, so that gzip's checksum is verified; memory grows with the file, not its claims."""
    needed = dtype.itemsize
    for size in shape:
        needed *= size  # Python integers: 255 sizes of 32 bits each must not wrap
    payload = bytearray()
    found = 0
    while chunk := stream.read(_CHUNK):
        payload += chunk[: max(0, needed - found)]
        found += len(chunk)
        check_unpacked(f"read_idx: {file}", found, limit)
    if found != needed:
        how = "truncated" if found < needed else "too long"
        raise DataError(
            f"read_idx: {file} is {how}: {found} bytes follow the header, {needed} were needed "
            f"for {shape if len(shape) <= 8 else f'rank {len(shape)}'} of {dtype.newbyteorder('=').name}"
        )
    return payload


def _make_header(array: NDArray[Any]) -> bytes:
    """Return the header for ``array``; its byte 2 is the element type."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise DTypeError(f"write_idx: array is a {type(array).__name__}, a numpy.ndarray was needed")
    code = _CODES.get(array.dtype.str[1:])
    if code is None:
        known = ", ".join(np.dtype(dtype).newbyteorder("=").name for dtype in _TYPES.values())
        raise DTypeError(f"write_idx: array has dtype {array.dtype}, one of {known} was needed")
    if any(size >= 1 << 32 for size in array.shape):
        raise DataError(f"write_idx: array has shape {array.shape}, sizes below 2**32 were needed")
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
