from __future__ import annotations

import gzip
import os
import stat
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastconv.data import idx, read_idx, write_idx
from fastconv.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
UNSUPPORTED = ("bool", "int64", "uint16", "float16", "complex64", "U3", "O", "M8[s]", "i4,i4")


def header(code: int, *sizes: int) -> bytes:
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, code, len(sizes), *sizes)


def arrays() -> st.SearchStrategy[np.ndarray]:
    """Arrays of every IDX type, both byte orders, any bits (so NaN payloads too), ranks 0 to 5, sizes 0 to 4."""
    dtypes = st.sampled_from([order + name for name in TYPES.values() for order in "<>"])
    shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)

    def fill(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return st.binary(min_size=size, max_size=size).map(lambda raw: np.frombuffer(raw, dtype).reshape(shape))

    return st.tuples(dtypes, shapes).flatmap(lambda drawn: fill(*drawn))


@settings(deadline=None)
@given(array=arrays(), zipped=st.booleans(), fortran=st.booleans())
def test_what_is_written_is_read(array: np.ndarray, zipped: bool, fortran: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.gz" if zipped else "a")
        write_idx(path, np.asfortranarray(array).reshape(array.shape) if fortran else array)
        assert path.read_bytes().startswith(b"\x1f\x8b" if zipped else b"\0\0")
        assert os.listdir(folder) == [path.name]
        back = read_idx(path)
    native = array.dtype.newbyteorder("=")
    assert back.shape == array.shape
    assert back.dtype == native and back.dtype.isnative
    assert back.flags.c_contiguous and back.flags.writeable and back.flags.aligned
    assert back.tobytes() == array.astype(native).tobytes()


@pytest.mark.parametrize(("code", "name"), TYPES.items())
def test_bytes_in_the_file(tmp_path: Path, code: int, name: str) -> None:
    array = np.array([[1, 2, 3], [4, 5, 100]], name)
    write_idx(tmp_path / "a", array)
    content = header(code, 2, 3) + array.astype(f">{name}").tobytes()
    assert (tmp_path / "a").read_bytes() == content
    write_idx(str(tmp_path / "b.gz"), array)
    assert gzip.decompress((tmp_path / "b.gz").read_bytes()) == content


def test_known_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes.fromhex("00000b02 00000002 00000002 0001 fffe 0100 7fff"))
    np.testing.assert_array_equal(read_idx(str(tmp_path / "a")), np.array([[1, -2], [256, 32767]], np.int16))


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    content = header(8, 3) + b"\1\2\3"
    (tmp_path / "plain.gz").write_bytes(content)
    (tmp_path / "zipped").write_bytes(gzip.compress(content))
    assert read_idx(tmp_path / "plain.gz").tolist() == read_idx(tmp_path / "zipped").tolist() == [1, 2, 3]


def test_strided_input_is_written_in_index_order(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int32).reshape(4, 6)[::-2, ::3]
    array.flags.writeable = False
    write_idx(tmp_path / "a", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), [[18, 21], [6, 9]])


def test_gzip_output_is_reproducible(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, np.arange(100, dtype=np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == b"\0\0\0\0"


def test_more_than_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "_CHUNK", 7)
    array = np.arange(100, dtype=np.int16)
    for name in ("a", "a.gz"):
        write_idx(tmp_path / name, array)
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_written_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_idx(tmp_path / "a", np.zeros(1, np.uint8))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


GOOD = header(8, 2, 3) + bytes(6)
FAULTS = {
    "empty": (b"", r"bad is empty, an IDX header of at least 4 bytes was needed"),
    "png": (b"\x89PNG\r\n", r"bad is not an IDX file: it starts with 89 50 4e 47, 00 00 was needed"),
    "page": (b"<!DOCTYPE html><title>404</title>", "bad is not an IDX file but an HTML page"),
    "page after blanks": (b"\xef\xbb\xbf\r\n <HTML lang=en>", "bad is not an IDX file but an HTML page"),
    "one byte": (b"\x1f", r"bad is not an IDX file: it starts with 1f, 00 00 was needed"),
    "second byte": (b"\0\1\x08\1", r"bad is not an IDX file: it starts with 00 01 08 01"),
    "type": (header(0x0A, 1) + b"\0", r"bad is not an IDX file: element type 0x0A, one of 0x08, 0x09, 0x0B"),
    "magic": (b"\0\0\x08", r"bad has a truncated header: 3 bytes, at least 4 were needed"),
    "sizes": (header(8, 2, 3)[:-1], r"bad has a truncated header: 11 bytes, 12 were needed for rank 2"),
    "no payload": (GOOD[:12], r"bad is truncated: 0 bytes follow the header, 6 were needed for \(2, 3\) of uint8"),
    "short": (GOOD[:-1], r"bad is truncated: 5 bytes follow the header, 6 were needed"),
    "long": (GOOD + b"\0\0", r"bad is too long: 8 bytes follow the header, 6 were needed"),
    "short f8": (header(14, 3) + bytes(23), r"23 bytes follow the header, 24 were needed for \(3,\) of float64"),
    "rank 65": (header(8, *[1] * 65) + b"\0", r"bad has rank 65 and sizes NumPy cannot hold"),
    "rank 255": (header(8, *[2**32 - 1] * 255), r"0 bytes follow the header, \d{2000,} were needed for rank 255"),
    "huge and zero": (header(14, 2**32 - 1, 2**32 - 1, 0), r"bad has rank 3 and sizes NumPy cannot hold"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_the_content(tmp_path: Path, fault: str, zipped: bool) -> None:
    content, message = FAULTS[fault]
    (tmp_path / "bad").write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=f"^read_idx: .*{message}"):
        read_idx(tmp_path / "bad")


@pytest.mark.parametrize("kept", [2, 5, 15, -9, -8, -1])
def test_truncated_gzip(tmp_path: Path, kept: int) -> None:
    (tmp_path / "bad").write_bytes(gzip.compress(GOOD)[:kept])
    with pytest.raises(DataError, match=r"bad is a corrupt or truncated gzip file \(.+\)"):
        read_idx(tmp_path / "bad")


@pytest.mark.parametrize("place", [2, 12, 20, -8, -1])
def test_corrupt_gzip(tmp_path: Path, place: int) -> None:
    content = bytearray(gzip.compress(GOOD))
    content[place] ^= 0x55
    (tmp_path / "bad").write_bytes(content)
    # A fault in the compressed header may decompress to another header, which is met before the checksum.
    with pytest.raises(DataError, match=r"bad is (a corrupt or truncated gzip file \(.+\)|not an IDX file)"):
        read_idx(tmp_path / "bad")


def test_gzip_with_an_impossible_block(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(GOOD))
    content[10] |= 0b110  # block type 3 does not exist; zlib, not gzip, finds this one
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DataError, match=r"bad is a corrupt or truncated gzip file \(.*invalid block type\)"):
        read_idx(tmp_path / "bad")


def test_rubbish_after_gzip(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(gzip.compress(GOOD) + b"rubbish")
    with pytest.raises(DataError, match="corrupt or truncated gzip"):
        read_idx(tmp_path / "bad")


@given(content=st.binary(max_size=40), zipped=st.booleans())
@settings(deadline=None)
def test_any_bytes_give_an_array_or_a_data_error(content: bytes, zipped: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(gzip.compress(b"\0\0" + content) if zipped else b"\0\0" + content)
        try:
            read_idx(path)
        except DataError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("zipped", [False, True])
def test_memory_grows_with_neither_claims_nor_bombs(tmp_path: Path, zipped: bool) -> None:
    pack = gzip.compress if zipped else bytes
    (tmp_path / "claim").write_bytes(pack(header(8, 2**31, 2**31) + b"\0"))
    (tmp_path / "bomb").write_bytes(pack(header(8, 1) + bytes(30_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"1 bytes follow the header, 4611686018427387904 were needed"):
            read_idx(tmp_path / "claim")
        with pytest.raises(DataError, match=r"30000000 bytes follow the header, 1 were needed"):
            read_idx(tmp_path / "bomb")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


def test_no_file_no_folder_no_path(tmp_path: Path) -> None:
    array = np.zeros(1, np.uint8)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_idx(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match=r"^read_idx: .* is a folder, a file was needed"):
        read_idx(tmp_path)
    with pytest.raises(TypeError, match=r"^read_idx: path is a int, a str or os\.PathLike was needed"):
        read_idx(0)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"^write_idx: the folder of .*absent.a does not exist"):
        write_idx(tmp_path / "absent" / "a", array)
    with pytest.raises(IsADirectoryError, match=r"^write_idx: .* is a folder, the name of a file was needed"):
        write_idx(tmp_path, array)
    with pytest.raises(TypeError, match=r"^write_idx: path is a NoneType"):
        write_idx(None, array)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [[1, 2], 1, None, b"12", np.uint8(3), np.ma.zeros(2, np.uint8)])
def test_write_needs_an_ndarray(tmp_path: Path, value: object) -> None:
    name = type(value).__name__
    with pytest.raises(TypeError, match=f"^write_idx: array is a {name}, a numpy.ndarray was needed"):
        write_idx(tmp_path / "a", value)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", UNSUPPORTED)
def test_write_needs_an_idx_type(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(TypeError, match=r"has dtype .*, one of uint8, int8, int16, int32, float32, float64 was needed"):
        write_idx(tmp_path / "a", np.zeros(2, dtype))
    assert not list(tmp_path.iterdir())


def test_write_needs_sizes_of_32_bits(tmp_path: Path) -> None:
    array = np.broadcast_to(np.uint8(0), (2**32, 0))
    with pytest.raises(DataError, match=r"^write_idx: array has shape \(4294967296, 0\), sizes below 2\*\*32"):
        write_idx(tmp_path / "a", array)


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_idx(tmp_path / name, np.arange(3, dtype=np.uint8))

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(idx.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_idx(tmp_path / name, np.arange(9, dtype=np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert read_idx(tmp_path / name).tolist() == [0, 1, 2]


@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_unpacked_is_bounded(tmp_path: Path, zipped: bool) -> None:
    pack = gzip.compress if zipped else bytes
    (tmp_path / "a").write_bytes(pack(header(8, 3_000_000) + bytes(3_000_000)))
    assert read_idx(tmp_path / "a", max_bytes=3_000_000).shape == (3_000_000,)
    with pytest.raises(DataError, match=r"^read_idx: .*a: unpacks to [\d,]+ bytes, at most 1,000 were allowed"):
        read_idx(tmp_path / "a", max_bytes=1000)
    with pytest.raises(FileNotFoundError, match=r"^read_idx: .*absent: there is no such file, .* was needed$"):
        read_idx(tmp_path / "absent")
