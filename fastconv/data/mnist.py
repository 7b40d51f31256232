"""MNIST, Fashion-MNIST, and any folder with files of the same names.

Sources: Y. LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86 (1998), section III;
H. Xiao et al., "Fashion-MNIST: a novel image dataset", arXiv:1708.07747 (2017), table 2 has the class names.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv.data.digits import Split, float_dtype
from fastconv.data.files import written_atomically
from fastconv.data.idx import open_decompressed, read_labelled_images
from fastconv.errors import DataError

MNIST_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
FASHION_MNIST_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_ADVICE = """Pass root= or set FASTCONV_DATA to a folder that has the files, or pip install "fastconv[data]" for the
download, or use load_digits(), which needs no files."""

Root = str | os.PathLike[str]


class Dataset(NamedTuple):
    """Where a data set is looked for and downloaded from; ``sha256`` is of the decompressed ``FILES``, in order."""

    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    sha256: tuple[str, ...]


DATASETS = {
    "mnist": Dataset(
        (".", "mnist", "MNIST/raw", "raw"),
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": Dataset(
        (".", "fashion-mnist", "FashionMNIST/raw", "raw"),
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}


def load_mnist(
    root: Root | None = None, *, download: bool = True, dtype: DTypeLike = np.float32
) -> tuple[Split, Split]:
    """Return MNIST, ``((x_train, labels_train), (x_test, labels_test))``: 60,000 and 10,000 images of digits.

    Looked for in ``root``, then in its folders ``mnist``, ``MNIST/raw`` and ``raw``; without ``root``, so in the folder
    that the environment variable FASTCONV_DATA names, then in the user's cache folder. Plain or gzipped files.

    Args:
        root: folder with the four files, or above it.
        download: fetch what is not found into the user's cache folder, checked by SHA-256; needs ``fastconv[data]``.
        dtype: of the images: float16, float32 or float64.

    Returns:
        x: (N, 1, 28, 28) in [0, 1], ink is 1; labels: (N,) int64 in 0..9.

    Raises:
        FileNotFoundError: the files are not found and not downloaded. NotADirectoryError: ``root`` is a file.
        DataError: a file is not what its name says. TypeError: ``dtype`` is not one of the three.
    """
    return _load("mnist", root, download, dtype)


def load_fashion_mnist(
    root: Root | None = None, *, download: bool = True, dtype: DTypeLike = np.float32
) -> tuple[Split, Split]:
    """Return Fashion-MNIST, 60,000 and 10,000 images of clothes; the class names are ``FASHION_MNIST_CLASSES``.

    All as for `load_mnist`, but the folders under ``root`` are ``fashion-mnist``, ``FashionMNIST/raw`` and ``raw``.
    """
    return _load("fashion-mnist", root, download, dtype)


def load_folder(root: Root, *, dtype: DTypeLike = np.float32) -> tuple[Split, Split]:
    """Return ``((x_train, labels_train), (x_test, labels_test))`` from IDX files named as MNIST's in ``root`` itself.

    Without the two t10k files, a tenth of the training images (rounded down) is held out as the test, the same
    on every call and machine; both parts stay in the order of the file.

    Returns:
        x: (N, C, H, W) in [0, 1], C is 1 for a file of rank 3; labels: (N,) int64, at least 0.

    Raises:
        FileNotFoundError: ``root`` or a file does not exist. NotADirectoryError: ``root`` is a file.
        DataError: a file is not what its name says, or fewer than 10 images to hold a tenth out of.
        TypeError: ``dtype`` is not float16, float32 or float64.
    """
    who = "load_folder"
    kind = float_dtype(who, dtype)
    folder = _as_folder(who, root, "root")
    missing = _missing(folder)
    if missing and missing != list(FILES[2:]):
        rule = f"{FILES[0]} and {FILES[1]} were needed, with both t10k files or neither (each may end in .gz)"
        raise FileNotFoundError(f"{who}: {folder} lacks {', '.join(missing)}; {rule}")
    paths = [_find(folder, file) for file in FILES]
    train = read_labelled_images(who, *paths[:2])
    train, test = _hold_out(who, folder, *train) if missing else (train, read_labelled_images(who, *paths[2:]))
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = f"training images of {train[0].shape[1:]} and test images of {test[0].shape[1:]} (C, H, W)"
        raise DataError(f"{who}: {folder} has {shapes}, the same shape was needed")
    return (np.divide(train[0], 255, dtype=kind), train[1]), (np.divide(test[0], 255, dtype=kind), test[1])


def folder_labels_file(root: Root, test: bool) -> Path:
    """The file that ``load_folder`` took the labels from; a test that was held out has those of the training file."""
    folder = Path(root).expanduser()
    return _find(folder, FILES[3 if test and not _missing(folder) else 1])


def _load(name: str, root: Root | None, download: bool, dtype: DTypeLike) -> tuple[Split, Split]:
    who = f"load_{name.replace('-', '_')}"
    kind = float_dtype(who, dtype)
    folder = _locate(who, name, root, download)
    splits = []
    for files in (FILES[:2], FILES[2:]):
        paths = [_find(folder, file) for file in files]
        images, labels = read_labelled_images(who, *paths)
        if images.shape[1:] != (1, 28, 28):
            raise DataError(f"{who}: {paths[0]} has images of {images.shape[1:]} (C, H, W), (1, 28, 28) was needed")
        if labels.max() > 9:
            raise DataError(f"{who}: {paths[1]} has label {labels.max()}, labels in 0..9 were needed")
        splits.append((np.divide(images, 255, dtype=kind), labels))
    return splits[0], splits[1]


def _hold_out(who: str, folder: Path, images: NDArray[Any], labels: NDArray[np.int64]) -> tuple[Split, Split]:
    if len(images) < 10:
        raise DataError(f"{who}: {folder} has {len(images)} images and no t10k files, at least 10 images were needed")
    # RandomState, whose stream NumPy has frozen (NEP 19); a Generator's may change with NumPy's version.
    held = np.zeros(len(images), bool)
    held[np.random.RandomState(0).permutation(len(images))[: len(images) // 10]] = True
    return (images[~held], labels[~held]), (images[held], labels[held])


def _find(folder: Path, file: str) -> Path:
    """Return the path ``file`` has under one of its names, its plain name if there is none."""
    dotted = file.replace("-idx", ".idx")
    paths = [folder / name for name in (file, f"{file}.gz", dotted, f"{dotted}.gz")]
    return next((path for path in paths if path.is_file()), paths[0])


def _missing(folder: Path) -> list[str]:
    return [file for file in FILES if not _find(folder, file).is_file()]


def _as_folder(who: str, root: Root, name: str) -> Path:
    if not isinstance(root, (str, os.PathLike)):
        raise TypeError(f"{who}: {name} is a {type(root).__name__}, a folder as str or os.PathLike was needed")
    folder = Path(root).expanduser()
    if folder.is_dir():
        return folder
    error, what = (NotADirectoryError, "is a file") if folder.exists() else (FileNotFoundError, "does not exist")
    raise error(f"{who}: {name} is {folder}, which {what}; a folder was needed")


def _cache_folder() -> Path | None:
    """Return the user's cache folder for fastconv, None for a user without a home."""
    places = {"win32": ("LOCALAPPDATA", "AppData/Local"), "darwin": ("", "Library/Caches")}
    variable, below_home = places.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    try:
        return Path(os.environ.get(variable) or Path.home() / below_home) / "fastconv"
    except RuntimeError:
        return None


def _locate(who: str, name: str, root: Root | None, download: bool) -> Path:
    """Return the folder that has all four files, downloaded if need be."""
    dataset, cache, folders = DATASETS[name], _cache_folder(), []
    where, label = (root, "root") if root is not None else (os.environ.get("FASTCONV_DATA") or None, "FASTCONV_DATA")
    if where is not None:
        base = _as_folder(who, where, label)
        folders += [base / folder for folder in dataset.folders]
    if cache is not None and (root is None or download):
        folders.append(cache / name)
    for folder in folders:
        if not _missing(folder):
            return folder
    if not download:
        reason = "not wanted (download=False)"
    elif cache is None:
        reason = "not possible, there is no home folder to keep the files in"
    elif not (reason := _download(dataset, cache / name)):
        return cache / name
    lines = [f"{who}: {', '.join(FILES)} (each may end in .gz) were not found. Looked in:"]
    for folder in folders:
        missing = _missing(folder)
        lines.append(f"  {folder}" + (f" (lacks only {', '.join(missing)})" if len(missing) < len(FILES) else ""))
    lines += [f"Download: {reason}", _ADVICE]
    raise FileNotFoundError("\n".join(lines))


def _download(dataset: Dataset, folder: Path) -> str:
    """Fetch the files that ``folder`` lacks; return "" when it has all four, else why not."""
    try:
        import pooch

        folder.mkdir(parents=True, exist_ok=True)
    except ImportError:
        return "not possible, pooch is not installed"
    except OSError as error:
        return f"failed, {folder} cannot be made ({error})"
    get = pooch.HTTPDownloader(timeout=10, chunk_size=1 << 16)
    for file in _missing(folder):
        failures, sha256 = [], dataset.sha256[FILES.index(file)]
        for mirror in dataset.mirrors:
            failures.append(_fetch(get, f"{mirror}{file}.gz", folder / f"{file}.gz", sha256))
            if not failures[-1]:
                break
        else:
            return "failed, " + "; ".join(failures)
    return ""


def _fetch(get: Callable[..., None], address: str, file: Path, sha256: str) -> str:
    """Download one file, whole and checked or not at all; return "" or what went wrong."""
    try:
        with written_atomically(file) as part:
            get(address, part, None)
            part.flush()
            # Of the content: mirrors compress the same file differently.
            with open_decompressed(Path(part.name), "download") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != sha256:
                raise DataError(f"SHA-256 of the decompressed file is {found}, {sha256} was needed")
    except (OSError, DataError) as error:  # the errors of requests are OSErrors
        return f"{address}: {error}"
    return ""
