"""Data sets as ``((x_train, labels_train), (x_test, labels_test))``, the IDX file format, and minibatches."""

from __future__ import annotations

from fastconv.data.batches import minibatches
from fastconv.data.digits import DIGITS_CLASSES, load_digits
from fastconv.data.idx import read_idx, write_idx
from fastconv.data.mnist import FASHION_MNIST_CLASSES, MNIST_CLASSES, load_fashion_mnist, load_folder, load_mnist

__all__ = [
    "DIGITS_CLASSES",
    "FASHION_MNIST_CLASSES",
    "MNIST_CLASSES",
    "load_digits",
    "load_fashion_mnist",
    "load_folder",
    "load_mnist",
    "minibatches",
    "read_idx",
    "write_idx",
]
