"""The data that commands take, by name or by folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fastconv import data as datasets
from fastconv.data.mnist import folder_labels_file
from fastconv.errors import DataError
from fastconv.training import Pair

SOURCE = "digits (embedded), mnist, fashion-mnist, or a folder of IDX files"
DATA_SETS: dict[str, Callable[[], tuple[Pair, Pair]]] = {
    "digits": datasets.load_digits,
    "mnist": datasets.load_mnist,
    "fashion-mnist": datasets.load_fashion_mnist,
}


def load(name: str) -> tuple[Pair, Pair]:
    """Training and test data."""
    return DATA_SETS[name]() if name in DATA_SETS else datasets.load_folder(name)


def check_labels(data: str, classes: int, *, train: np.ndarray | None = None, test: np.ndarray) -> None:
    """Fail before any work, naming the file, where data has a label that a model restored from a file cannot have."""
    for labels, of_test in ((train, False), (test, True)):
        if labels is not None and labels.max() >= classes:
            source = data if data in DATA_SETS else folder_labels_file(data, of_test)
            raise DataError(
                f"{source}: has label {labels.max()}, labels from 0 to {classes - 1} were needed by this model"
            )


def class_names(data: str, count: int) -> Sequence[str]:
    """What the classes of the data are called."""
    known = {
        "digits": datasets.DIGITS_CLASSES,
        "mnist": datasets.MNIST_CLASSES,
        "fashion-mnist": datasets.FASHION_MNIST_CLASSES,
    }
    return known.get(Path(data).name, [str(i) for i in range(count)])
