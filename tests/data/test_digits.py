from __future__ import annotations

import hashlib
import importlib
import importlib.resources
import itertools
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastconv.data.digits as digits_module
from fastconv.data import DIGITS_CLASSES, load_digits
from fastconv.data.make_digits import digits_arrays, write_npz

FOLDER = Path(digits_module.__file__).parent


def raw() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "digits.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def test_the_file_is_what_its_description_says() -> None:
    rows = re.findall(r"^\| (\w+) \| \((.+?)\) \| (\w+) \| `(\w{64})` \|$", (FOLDER / "DIGITS.md").read_text(), re.M)
    arrays = raw()
    assert {row[0] for row in rows} == set(arrays) == {"images", "labels", "order"}
    for name, shape, dtype, sha256 in rows:
        array = arrays[name].astype(arrays[name].dtype.newbyteorder("<"))
        assert array.shape == tuple(int(size) for size in shape.split(",") if size)
        assert array.dtype.name == dtype
        assert hashlib.sha256(array.tobytes()).hexdigest() == sha256


def test_the_file_is_scikit_learns_data() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    source = datasets.load_digits()
    arrays = raw()
    np.testing.assert_array_equal(arrays["images"], source.images)
    np.testing.assert_array_equal(arrays["labels"], source.target)


def test_the_file_can_be_made_anew(tmp_path: Path) -> None:
    pytest.importorskip("sklearn.datasets")
    arrays = digits_arrays()
    for name, array in raw().items():
        if name != "order":  # drawn once; a later NumPy may draw another
            np.testing.assert_array_equal(arrays[name], array, strict=True)
    for name in ("a", "b"):
        write_npz(tmp_path / name, arrays)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with np.load(tmp_path / "a", allow_pickle=False) as back:
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array, strict=True)


def test_split() -> None:
    arrays = raw()
    np.testing.assert_array_equal(np.sort(arrays["order"]), np.arange(1797))
    (x, labels), (x_test, labels_test) = load_digits()
    assert x.shape == (1437, 1, 28, 28) and x_test.shape == (360, 1, 28, 28)
    assert labels.shape == (1437,) and labels_test.shape == (360,)
    assert x.dtype == x_test.dtype == np.float32 and labels.dtype == labels_test.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(labels_test), [36] * 10)
    assert np.bincount(labels).min() > 130
    assert DIGITS_CLASSES == tuple(str(label) for label in range(10))


def test_size_8_is_the_original() -> None:
    arrays = raw()
    (x, labels), (x_test, labels_test) = load_digits(8, dtype=np.float64)
    order = arrays["order"]
    expected = arrays["images"][order].astype(float)[:, None] / 16
    np.testing.assert_array_equal(np.concatenate([x, x_test]), expected)
    np.testing.assert_array_equal(np.concatenate([labels, labels_test]), arrays["labels"][order])


def slow_enlarge(image: np.ndarray, box: int) -> np.ndarray:
    """Bilinear interpolation, one pixel at a time, straight from its definition."""
    result = np.zeros((box, box))
    for oy in range(box):
        for ox in range(box):
            centre = [min(max((o + 0.5) * 8 / box - 0.5, 0.0), 7.0) for o in (oy, ox)]
            for iy in range(8):
                for ix in range(8):
                    weight = max(0.0, 1 - abs(centre[0] - iy)) * max(0.0, 1 - abs(centre[1] - ix))
                    result[oy, ox] += weight * image[iy, ix]
    return result


@pytest.mark.parametrize(
    ("size", "box"), [(8, 8), (9, 8), (11, 8), (12, 9), (14, 10), (28, 20), (29, 21), (32, 23), (56, 40)]
)
def test_enlarged_in_a_centred_box(size: int, box: int) -> None:
    (original, _), _ = load_digits(8, dtype=np.float64)
    (x, _), _ = load_digits(size, dtype=np.float64)
    margin = (size - box) // 2
    inside = (slice(margin, margin + box),) * 2
    np.testing.assert_allclose(x[3, 0][inside], slow_enlarge(original[3, 0], box), rtol=0, atol=1e-14)
    outside = x.copy()
    outside[:, :, *inside] = 0
    assert not outside.any()
    assert x.min() == 0 and x.max() <= 1


def test_enlarging_keeps_halves_exactly() -> None:
    # 8 -> 16: every weight is 1/4 or 3/4, so float32 has no rounding at all.
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) % 17
    x = digits_module._stretch(image.astype(np.float32) / 16, 16, axis=2)
    row = image[0, 0] / 16
    expected = [row[0]]
    for left, right in itertools.pairwise(row):
        expected += [0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right]
    np.testing.assert_array_equal(x[0, 0], [*expected, row[7]])


@pytest.mark.parametrize(("dtype", "eps"), [(np.float16, 2**-11), (np.float32, 2**-24), ("float64", 2**-53)])
def test_dtypes(dtype: str, eps: float) -> None:
    (exact, _), _ = load_digits(dtype=np.float64)
    (x, _), _ = load_digits(dtype=dtype)
    assert x.dtype == dtype
    np.testing.assert_allclose(x.astype(float), exact, rtol=0, atol=4 * eps)
    assert x.min() == 0 and x.max() <= 1


def test_each_call_gives_arrays_of_its_own() -> None:
    (first, _), _ = load_digits()
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(load_digits()[0][0], kept)


@pytest.mark.parametrize("size", [True, 28.0, "28", None])
def test_size_of_the_wrong_type(size: object) -> None:
    with pytest.raises(TypeError, match=r"^load_digits: size is .*, an int was needed"):
        load_digits(size)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [7, 0, -28])
def test_size_too_small(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^load_digits: size is {size}, at least 8 was needed"):
        load_digits(size)


def test_size_of_a_small_integer_type() -> None:
    assert load_digits(np.uint8(28))[1][0].shape == (360, 1, 28, 28)


@pytest.mark.parametrize("dtype", [None, np.int32, "complex64", ">f4", "no such type", 3, object])
def test_dtype_not_supported(dtype: object) -> None:
    with pytest.raises(TypeError, match=r"^load_digits: dtype is .*, float16, float32 or float64 was needed"):
        load_digits(dtype=dtype)  # type: ignore[arg-type]


def test_digits_of_a_package_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is asked for as a resource of the package, wherever that is."""
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("packed_digits/__init__.py", "")
        packed.write(FOLDER / "digits.npz", "packed_digits/digits.npz")
    monkeypatch.syspath_prepend(str(archive))
    importlib.invalidate_caches()
    expected = load_digits(8)
    asked = []

    def files(name: str) -> object:
        asked.append(name)
        return importlib.resources.files("packed_digits")

    monkeypatch.setattr(digits_module, "files", files)
    for (x, labels), (wanted, wanted_labels) in zip(load_digits(8), expected):
        np.testing.assert_array_equal(x, wanted)
        np.testing.assert_array_equal(labels, wanted_labels)
    assert asked == ["fastconv.data"]
