"""Reading pictures."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastconv.data.pictures import read_pictures
from fastconv.errors import DataError, MissingExtraError, ShapeError

SHAPE = (1, 4, 5)


@pytest.mark.parametrize("shape, count", [((4, 5), 1), ((1, 4, 5), 1), ((3, 1, 4, 5), 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_files(tmp_path, shape, count, dtype):
    path = tmp_path / "a.npy"
    np.save(path, np.full(shape, 51, np.uint8))
    x = read_pictures(path, SHAPE, np.dtype(dtype))
    assert (x.shape, x.dtype) == ((count, *SHAPE), dtype)
    np.testing.assert_allclose(x, 0.2, rtol=1e-6)
    np.save(path, np.full(shape, 0.25))
    np.testing.assert_array_equal(read_pictures(str(path), SHAPE, np.dtype(dtype)), dtype(0.25))


def test_numpy_files_that_do_not_fit(tmp_path):
    path, dtype = tmp_path / "a.npy", np.dtype(np.float32)
    for shape in [(5, 4), (2, 4, 5), (1, 1, 1, 4, 5), ()]:
        np.save(path, np.zeros(shape))
        with pytest.raises(ShapeError, match=r"a\.npy"):
            read_pictures(path, SHAPE, dtype)
    for wrong, match in [
        ("x", "bytes or floats were needed, the file has <U1"), (200, "were needed, the file has int64"),
        (254.0, "from 0 to 1 were needed, the file has 254.0 to 254.0"), (np.nan, "the file has nan"), (-0.5, "-0.5"),
    ]:  # fmt: skip
        np.save(path, np.full((4, 5), wrong))
        with pytest.raises(DataError, match=match):
            read_pictures(path, SHAPE, dtype)
    np.save(path, np.full((4, 5), None), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy"):
        read_pictures(path, SHAPE, dtype)
    for content in (b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy"):
            read_pictures(path, SHAPE, dtype)
    with pytest.raises(FileNotFoundError):
        read_pictures(tmp_path / "none.npy", SHAPE, dtype)


def test_picture_files_need_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"fastconv\[plot\]"):
        read_pictures(tmp_path / "a.png", SHAPE, np.dtype(np.float32))


def test_picture_files(tmp_path):
    images = pytest.importorskip("PIL.Image")
    path, dtype = tmp_path / "a.png", np.dtype(np.float32)
    images.fromarray(np.full((8, 10, 3), 51, np.uint8)).save(path)
    np.testing.assert_allclose(read_pictures(path, SHAPE, dtype), np.full((1, *SHAPE), 0.2), rtol=1e-6)
    with pytest.raises(ShapeError, match="one channel"):
        read_pictures(path, (3, 4, 5), dtype)
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="not a picture"):
        read_pictures(path, SHAPE, dtype)
    with pytest.raises(FileNotFoundError):
        read_pictures(tmp_path / "none.png", SHAPE, dtype)


def test_pictures_of_every_kind(tmp_path):
    """Grey of 8 and 16 bits, black and white, a palette, a transparent background."""
    images = pytest.importorskip("PIL.Image")
    path, dtype = tmp_path / "a.png", np.dtype(np.float64)
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5) * 13
    for content in (grey, grey.astype(np.uint16) * 257):
        images.fromarray(content).save(path)
        np.testing.assert_allclose(read_pictures(path, SHAPE, dtype)[0, 0], grey / 255, rtol=0, atol=1e-12)
    images.fromarray(grey).convert("P").save(path)
    np.testing.assert_allclose(read_pictures(path, SHAPE, dtype)[0, 0], grey / 255, rtol=0, atol=1e-12)
    images.fromarray(grey > 100).save(path)
    np.testing.assert_array_equal(read_pictures(path, SHAPE, dtype)[0, 0], grey > 100)
    ink = np.zeros((4, 5, 4), np.uint8)  # black ink on nothing
    ink[1, 2:, 3] = 255
    images.fromarray(ink).save(path)
    np.testing.assert_array_equal(read_pictures(path, SHAPE, dtype)[0, 0], ink[..., 3] == 0)


@pytest.mark.parametrize("kind", ["png", "gif", "bmp", "tif", "jpg", "npy"])
def test_damaged_files_are_named(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    if kind == "npy":
        np.save(path, pixels)
    else:
        pytest.importorskip("PIL.Image").fromarray(pixels).save(path)
    whole, errors = path.read_bytes(), 0
    for end in range(0, len(whole), 1 + len(whole) // 60):
        path.write_bytes(whole[:end])
        try:
            read_pictures(path, SHAPE, np.dtype(np.float32))
        except DataError as error:
            errors += str(path) in str(error)
    assert errors > 20
    with pytest.raises(FileNotFoundError, match=rf"n\.{kind}: there is no such file, a .* was needed$"):
        read_pictures(tmp_path / f"n.{kind}", SHAPE, np.dtype(np.float32))


def test_damaged_pictures_are_named(tmp_path):
    """Pillow's own errors are of many kinds, and do not name the file."""
    images = pytest.importorskip("PIL.Image")
    rng, dtype = np.random.default_rng(0), np.dtype(np.float32)
    picture = images.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8))
    refused = 0
    for suffix in ("png", "jpg", "gif", "bmp", "tif"):
        path = tmp_path / f"a.{suffix}"
        picture.save(path)
        whole = path.read_bytes()
        for _ in range(40):
            content = bytearray(whole)
            for place in rng.integers(0, min(200, len(content)), 4):
                content[place] = int(rng.integers(256))
            path.write_bytes(content[: int(rng.integers(len(content)))] if rng.random() < 0.3 else content)
            try:
                read_pictures(path, SHAPE, dtype)
            except DataError as error:
                assert str(error).startswith(f"{path}: ") and "BytesIO" not in str(error)
                refused += 1
    assert refused > 50
