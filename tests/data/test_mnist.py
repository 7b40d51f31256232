from __future__ import annotations

import gzip
import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fastconv.data import FASHION_MNIST_CLASSES, MNIST_CLASSES, load_fashion_mnist, load_folder, load_mnist, mnist
from fastconv.data import write_idx as write
from fastconv.data.idx import open_decompressed
from fastconv.data.mnist import DATASETS, FILES
from fastconv.errors import DataError

REAL = os.environ.get("FASTCONV_DATA")
LOADERS = {"mnist": load_mnist, "fashion-mnist": load_fashion_mnist}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A cache folder of the test's own, no FASTCONV_DATA, and mirrors that cannot be reached."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(mnist, "_cache_folder", lambda: folder)
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, dataset in DATASETS.items():
        monkeypatch.setitem(DATASETS, name, dataset._replace(mirrors=()))
    return folder


def fill(
    folder: Path,
    *,
    n: tuple[int, int] = (6, 3),
    shape: tuple[int, ...] = (28, 28),
    suffix: str = "",
    dotted: bool = False,
) -> list[np.ndarray]:
    """Write four small files into ``folder``; return their arrays in the order of FILES."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(n))
    contents = []
    for count in n:
        contents.append(rng.integers(0, 256, (count, *shape), np.uint8))
        contents.append((np.arange(count) % 10).astype(np.uint8))
    for file, content in zip(FILES, contents, strict=True):
        write(folder / ((file.replace("-idx", ".idx") if dotted else file) + suffix), content)
    return contents


def assert_loaded(loaded: tuple, contents: list[np.ndarray]) -> None:
    for (x, labels), images, ids in zip(loaded, contents[::2], contents[1::2], strict=True):
        expected = (images if images.ndim == 4 else images[:, None]).astype(np.float64) / 255
        np.testing.assert_array_equal(x, expected.astype(np.float32), strict=True)
        np.testing.assert_array_equal(labels, ids.astype(np.int64), strict=True)


def test_class_names() -> None:
    assert MNIST_CLASSES == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert len(FASHION_MNIST_CLASSES) == 10
    assert (FASHION_MNIST_CLASSES[0], FASHION_MNIST_CLASSES[9]) == ("T-shirt/top", "Ankle boot")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("load", [load_mnist, load_fashion_mnist, load_folder])
def test_names_of_files(tmp_path: Path, suffix: str, dotted: bool, load: object) -> None:
    contents = fill(tmp_path, suffix=suffix, dotted=dotted)
    assert_loaded(load(tmp_path), contents)  # type: ignore[operator]
    assert_loaded(load(str(tmp_path)), contents)  # type: ignore[operator]


def test_plain_file_is_preferred_and_names_may_be_mixed(tmp_path: Path) -> None:
    fill(tmp_path, n=(5, 2), suffix=".gz")
    contents = fill(tmp_path)
    assert_loaded(load_mnist(tmp_path), contents)
    (tmp_path / FILES[0]).rename(tmp_path / "train-images.idx3-ubyte")
    (tmp_path / f"{FILES[0]}.gz").unlink()
    assert_loaded(load_mnist(tmp_path), contents)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("mnist", [".", "mnist", "MNIST/raw", "raw"]),
        ("fashion-mnist", [".", "fashion-mnist", "FashionMNIST/raw", "raw"]),
    ],
)
def test_folders_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, name: str, folders: list[str]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    cached = fill(cache / name, n=(9, 9))
    for place, folder in reversed(list(enumerate(folders))):
        contents = fill(root / folder, n=(5 + place, 3))
        assert_loaded(LOADERS[name](root), contents)
        monkeypatch.setenv("FASTCONV_DATA", str(root))
        assert_loaded(LOADERS[name](), contents)
    monkeypatch.setenv("FASTCONV_DATA", "")
    assert_loaded(LOADERS[name](), cached)


def test_incomplete_folder_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, n=(4, 4))
    (tmp_path / FILES[3]).unlink()
    contents = fill(tmp_path / "mnist")
    assert_loaded(load_mnist(tmp_path), contents)


def test_an_empty_environment_variable_is_none(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "here", n=(4, 4))
    contents = fill(cache / "mnist")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("FASTCONV_DATA", "")
    assert_loaded(load_mnist(), contents)


def test_the_cache_serves_a_root_without_files(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)  # not needed for what is there
    root = tmp_path / "root"
    root.mkdir()
    contents = fill(cache / "mnist")
    assert_loaded(load_mnist(root), contents)
    with pytest.raises(FileNotFoundError, match="were not found"):
        load_mnist(root, download=False)


def test_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for platform, variable, below in [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", None, "Library/Caches"),
    ]:
        monkeypatch.setattr(mnist.sys, "platform", platform)
        if variable:
            monkeypatch.setenv(variable, str(tmp_path / "set"))
            assert mnist._cache_folder() == tmp_path / "set" / "fastconv"
            monkeypatch.delenv(variable)
        assert mnist._cache_folder() == tmp_path / below / "fastconv"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "FASTCONV_DATA"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(FileNotFoundError, match="Download: not possible, there is no home folder"):
        load_mnist()


@pytest.mark.parametrize("dtype", [np.float16, "float32", np.float64])
def test_dtype(tmp_path: Path, dtype: str) -> None:
    contents = fill(tmp_path)
    for load in (load_mnist, load_fashion_mnist, load_folder):
        (x, labels), (x_test, _) = load(tmp_path, dtype=dtype)
        assert x.dtype == x_test.dtype == dtype and labels.dtype == np.int64
        np.testing.assert_array_equal(x[:, 0], (contents[0] / 255).astype(dtype))


@pytest.mark.parametrize("dtype", [None, np.int64, "complex64"])
def test_dtype_not_supported(tmp_path: Path, dtype: object) -> None:
    for load in (load_mnist, load_fashion_mnist, load_folder):
        message = f"^{load.__name__}: dtype is .*, float16, float32 or float64 was needed"
        with pytest.raises(TypeError, match=message):
            load(tmp_path, dtype=dtype)  # type: ignore[arg-type]


def test_arrays_are_writeable_and_contiguous(tmp_path: Path) -> None:
    fill(tmp_path)
    for pair in load_mnist(tmp_path):
        for array in pair:
            assert array.flags.writeable and array.flags.c_contiguous


# Not found


def test_message_when_nothing_is_found(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(download=False)
    message = str(caught.value)
    assert message.startswith("load_mnist: ")
    folders = [tmp_path, tmp_path / "mnist", tmp_path / "MNIST" / "raw", tmp_path / "raw", cache / "mnist"]
    assert message.split("Looked in:\n")[1].split("\nDownload:")[0] == "\n".join(f"  {folder}" for folder in folders)
    for part in (*FILES, "download=False", "root=", "FASTCONV_DATA", 'pip install "fastconv[data]"', "load_digits()"):
        assert part in message


def test_message_says_what_is_missing(tmp_path: Path) -> None:
    fill(tmp_path / "raw")
    for file in (FILES[0], FILES[3]):
        (tmp_path / "raw" / file).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"^load_fashion_mnist(.|\n)*raw \(lacks only {FILES[0]}, {FILES[3]}\)"
    ):
        load_fashion_mnist(tmp_path, download=False)


@pytest.mark.parametrize("load", [load_mnist, load_fashion_mnist, load_folder])
def test_root_that_is_no_folder(tmp_path: Path, load: object) -> None:
    name = load.__name__  # type: ignore[attr-defined]
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=f"^{name}: root is .*absent, which does not exist; a folder was"):
        load(tmp_path / "absent")  # type: ignore[operator]
    with pytest.raises(NotADirectoryError, match=f"^{name}: root is .*file, which is a file; a folder was needed"):
        load(tmp_path / "file")  # type: ignore[operator]
    with pytest.raises(TypeError, match=f"^{name}: root is a int, a folder as str or os.PathLike was needed"):
        load(3)  # type: ignore[operator]


def test_environment_variable_that_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match=r"^load_mnist: FASTCONV_DATA is .*absent, which does not exist"):
        load_mnist()


# Faults in the files

U1 = np.uint8
FAULTS = {
    "swapped": (0, np.zeros(6, U1), r"{0} holds labels \(rank 1\), images of rank 3 or 4 were needed"),
    "labels swapped": (1, np.zeros((6, 28, 28), U1), r"{1} holds images \(rank 3\), labels of rank 1 were needed"),
    "image dtype": (0, np.zeros((6, 28, 28), np.int16), r"{0} has rank 3 and dtype int16, rank 3 or 4 and uint8"),
    "image rank": (0, np.zeros((6, 28), U1), r"{0} has rank 2 and dtype uint8"),
    "no images": (0, np.zeros((0, 28, 28), U1), r"{0} has shape \(0, 28, 28\), at least one image of one pixel"),
    "no pixels": (0, np.zeros((6, 28, 0), U1), r"{0} has shape \(6, 28, 0\), at least one image of one pixel"),
    "counts": (1, np.zeros(5, U1), r"{0} has 6 images, .*{1} has 5 labels"),
    "test counts": (2, np.zeros((4, 28, 28), U1), r"{2} has 4 images, .*{3} has 3 labels"),
    "label dtype": (1, np.zeros(6, np.float32), r"{1} has dtype float32, integers were needed"),
    "negative": (1, np.array([0, 1, -2, 3, 4, 5], np.int8), r"{1} has label -2, labels of at least 0 were needed"),
    "label 10": (3, np.array([0, 10, 1], U1), r"{3} has label 10, labels in 0\.\.9 were needed"),
    "size": (0, np.zeros((6, 28, 27), U1), r"{0} has images of \(1, 28, 27\) \(C, H, W\), \(1, 28, 28\) was needed"),
}
OF_MNIST_ONLY = ("label 10", "size")  # load_folder takes any labels and sizes
CASES = [(fault, load) for fault in FAULTS for load in (load_mnist, load_fashion_mnist)]
CASES += [(fault, load_folder) for fault in FAULTS if fault not in OF_MNIST_ONLY]


@pytest.mark.parametrize(("fault", "load"), CASES)
def test_faults(tmp_path: Path, fault: str, load: object) -> None:
    fill(tmp_path)
    place, content, message = FAULTS[fault]
    write(tmp_path / FILES[place], content)
    with pytest.raises(DataError, match=f"^{load.__name__}: .*{message.format(*FILES)}"):  # type: ignore[attr-defined]
        load(tmp_path)  # type: ignore[operator]


def test_corrupt_file_is_named(tmp_path: Path) -> None:
    fill(tmp_path, suffix=".gz")
    path = tmp_path / f"{FILES[2]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{FILES[2]}.gz is a corrupt or truncated gzip"):
        load_mnist(tmp_path)


# Folders of other data


def test_folder_with_channels_sizes_and_many_classes(tmp_path: Path) -> None:
    contents = fill(tmp_path, shape=(3, 5, 7))
    contents[1][:] = 200
    write(tmp_path / FILES[1], contents[1].astype(np.int32))
    assert_loaded(load_folder(tmp_path), contents)


def test_folder_is_root_itself(tmp_path: Path) -> None:
    fill(tmp_path / "raw")
    with pytest.raises(
        FileNotFoundError, match=f"^load_folder: .* lacks {FILES[0]}, .*, with both t10k files or neither"
    ):
        load_folder(tmp_path)


@pytest.mark.parametrize("absent", [0, 1, 2, 3])
def test_folder_with_three_files(tmp_path: Path, absent: int) -> None:
    fill(tmp_path)
    (tmp_path / FILES[absent]).unlink()
    with pytest.raises(FileNotFoundError, match=f"^load_folder: .* lacks {FILES[absent]}; {FILES[0]} and"):
        load_folder(tmp_path)


def test_folder_with_two_image_sizes(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / FILES[2], np.zeros((3, 28, 20), np.uint8))
    with pytest.raises(
        DataError, match=r"has training images of \(1, 28, 28\) and test images of \(1, 28, 20\) \(C, H"
    ):
        load_folder(tmp_path)


def train_only(folder: Path, n: int) -> None:
    write(folder / FILES[0], np.arange(n, dtype=np.uint8).reshape(n, 1, 1).repeat(4, axis=2))
    write(folder / FILES[1], np.arange(n, dtype=np.int32))


def test_a_fixed_tenth_is_held_out(tmp_path: Path) -> None:
    train_only(tmp_path, 105)
    (x, labels), (x_test, labels_test) = load_folder(tmp_path, dtype=np.float64)
    # Written down once: must be the same with every NumPy on every machine.
    assert labels_test.tolist() == HELD_OUT_OF_105
    assert labels.tolist() == [n for n in range(105) if n not in HELD_OUT_OF_105]
    np.testing.assert_array_equal(x[:, 0, 0, 0] * 255, labels)
    np.testing.assert_array_equal(x_test[:, 0, 0, 3] * 255, labels_test)
    assert load_folder(tmp_path)[1][1].tolist() == HELD_OUT_OF_105


def test_ten_images_are_enough_to_hold_out_one(tmp_path: Path) -> None:
    train_only(tmp_path, 10)
    train, test = load_folder(tmp_path)
    assert (len(train[1]), len(test[1])) == (9, 1)
    train_only(tmp_path, 9)
    with pytest.raises(DataError, match=r"has 9 images and no t10k files, at least 10 images were needed"):
        load_folder(tmp_path)


# Download


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A web server for a folder: (the folder, its address, the paths asked for)."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}/", asked
        httpd.shutdown()
        thread.join()


def use_mirrors(monkeypatch: pytest.MonkeyPatch, name: str, mirrors: tuple[str, ...], served: Path) -> None:
    """Point a data set at ``mirrors`` and expect the files now in ``served``."""
    pytest.importorskip("pooch")
    contents = [gzip.decompress((served / f"{file}.gz").read_bytes()) for file in FILES]
    sha256 = tuple(hashlib.sha256(content).hexdigest() for content in contents)
    monkeypatch.setitem(DATASETS, name, DATASETS[name]._replace(mirrors=mirrors, sha256=sha256))


@pytest.mark.parametrize("name", LOADERS)
def test_download(
    name: str, server: tuple, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    served, address, asked = server
    contents = fill(served, suffix=".gz")
    use_mirrors(monkeypatch, name, (f"{address}absent/", address), served)
    assert_loaded(LOADERS[name](), contents)
    assert sorted(path.name for path in (cache / name).iterdir()) == sorted(f"{file}.gz" for file in FILES)
    count = len(asked)
    assert_loaded(LOADERS[name](), contents)
    assert len(asked) == count, "the second call must not ask again"
    assert capfd.readouterr() == ("", "")


def test_download_takes_another_compression(server: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    served, address, _ = server
    contents = fill(served, suffix=".gz")
    use_mirrors(monkeypatch, "mnist", (address,), served)
    for file in FILES:
        path = served / f"{file}.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1, mtime=7))
    assert_loaded(load_mnist(), contents)


def test_download_fetches_only_what_is_missing(server: tuple, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, address, asked = server
    contents = fill(served, suffix=".gz")
    use_mirrors(monkeypatch, "mnist", (address,), served)
    fill(cache / "mnist")
    (cache / "mnist" / FILES[2]).unlink()
    assert_loaded(load_mnist(), contents)
    assert asked == [f"/{FILES[2]}.gz"]


BAD_DOWNLOADS = {
    "other content": (gzip.compress(b"other"), r"SHA-256 of the decompressed file is \w{64}, \w{64} was needed"),
    "not gzipped": (b"<html>", "SHA-256 of the decompressed file is"),
    "truncated": (None, "corrupt or truncated gzip"),
    "absent": (b"", "404"),
}


@pytest.mark.parametrize("fault", BAD_DOWNLOADS)
def test_bad_download_leaves_nothing_behind(
    fault: str, server: tuple, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, address, _ = server
    fill(served, suffix=".gz")
    use_mirrors(monkeypatch, "mnist", (address, f"{address}second/"), served)
    content, message = BAD_DOWNLOADS[fault]
    path = served / f"{FILES[1]}.gz"
    content = path.read_bytes()[:-9] if content is None else content
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(
        FileNotFoundError, match=rf"Download: failed, {address}{FILES[1]}.gz: (.|\n)*{message}"
    ) as caught:
        load_mnist()
    assert f"{address}second/{FILES[1]}.gz: 404" in str(caught.value)
    assert f"(lacks only {', '.join(FILES[1:])})" in str(caught.value)
    assert [file.name for file in (cache / "mnist").iterdir()] == [f"{FILES[0]}.gz"]


def test_unreachable_server(server: tuple, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, _, _ = server
    fill(served, suffix=".gz")
    use_mirrors(monkeypatch, "mnist", ("http://127.0.0.1:1/",), served)
    with pytest.raises(FileNotFoundError, match=r"Download: failed, http://127\.0\.0\.1:1/.*Connection"):
        load_mnist()
    assert list((cache / "mnist").iterdir()) == []


def test_cache_that_cannot_be_made(server: tuple, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, address, _ = server
    fill(served, suffix=".gz")
    use_mirrors(monkeypatch, "mnist", (address,), served)
    cache.write_text("a file where the folder should be")
    with pytest.raises(FileNotFoundError, match=r"Download: failed, .*cache.mnist cannot be made \("):
        load_mnist()


def test_download_without_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(FileNotFoundError, match=r'pooch is not installed\n(.|\n)*pip install "fastconv\[data\]"'):
        load_mnist()


def test_addresses_and_checksums_are_complete() -> None:
    for dataset in DATASETS.values():
        assert len(dataset.sha256) == len(FILES) == len(set(dataset.sha256))
        assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in dataset.sha256)


# The real data


@pytest.mark.skipif(not REAL, reason="FASTCONV_DATA is not set to a folder with MNIST and Fashion-MNIST")
@pytest.mark.parametrize("name", LOADERS)
def test_real_data(name: str) -> None:
    (x, labels), (x_test, labels_test) = LOADERS[name](REAL, download=False)
    assert x.shape == (60000, 1, 28, 28) and x_test.shape == (10000, 1, 28, 28)
    assert x.dtype == x_test.dtype == np.float32
    assert x.min() == 0 and x.max() == 1 and x_test.min() == 0 and x_test.max() == 1
    assert np.bincount(labels).tolist() == LABEL_COUNTS[name][0]
    assert np.bincount(labels_test).tolist() == LABEL_COUNTS[name][1]
    for file, sha256 in zip(FILES, DATASETS[name].sha256, strict=True):
        path = mnist._find(mnist._locate("test", name, REAL, False), file)
        with open_decompressed(path, "test") as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == sha256


HELD_OUT_OF_105 = [2, 16, 26, 45, 48, 56, 61, 62, 85, 100]
LABEL_COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion-mnist": ([6000] * 10, [1000] * 10),
}
