"""MNIST as the book's scripts take it; the files are found and checked as `fastconv.data.load_mnist` does it."""

from __future__ import annotations

import numpy as np

from fastconv import data

Split = tuple[np.ndarray, np.ndarray]


def load_mnist(normalize: bool = True, flatten: bool = True, one_hot_label: bool = False) -> tuple[Split, Split]:
    """((x_train, t_train), (x_test, t_test)), 60,000 and 10,000 images of digits.

    Args:
        normalize: pixels float32 from 0 to 1; otherwise uint8 from 0 to 255.
        flatten: images as rows (N, 784); otherwise (N, 1, 28, 28).
        one_hot_label: labels as rows (N, 10) float64; otherwise (N,) uint8.

    Raises:
        FileNotFoundError: the files are not found and cannot be fetched.
    """
    return tuple(  # type: ignore[return-value]
        (_images(x, normalize, flatten), np.eye(10)[labels] if one_hot_label else labels.astype(np.uint8))
        for x, labels in data.load_mnist()
    )


def _images(x: np.ndarray, normalize: bool, flatten: bool) -> np.ndarray:
    pixels = x if normalize else np.rint(x * 255).astype(np.uint8)
    return pixels.reshape(len(x), -1) if flatten else pixels
