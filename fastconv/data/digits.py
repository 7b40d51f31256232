"""The 1,797 handwritten digits of the UCI repository, embedded: training and testing need no files, no network."""

from __future__ import annotations

import io
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv.data.arguments import integer
from fastconv.errors import DTypeError

DIGITS_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")

_TRAIN = 1437
_SIDE = 8
_MAX = 16  # pixels are counts of ink in 4x4 cells of a bitmap

Split = tuple[NDArray[Any], NDArray[np.int64]]


def load_digits(size: int = 28, *, dtype: DTypeLike = np.float32) -> tuple[Split, Split]:
    """Return ``((x_train, labels_train), (x_test, labels_test))``: 1,437 and 360 digits, 36 of each class in the test.

    The 8x8 originals are enlarged bilinearly to ``size * 20 / 28`` pixels (never below 8) and centred on black,
    the proportions of MNIST. ``size=8`` gives the originals. The split is part of the file: always the same.

    Args:
        size: height and width of the images in pixels, at least 8.
        dtype: of the images: float16, float32 or float64.

    Returns:
        x: (N, 1, size, size) in [0, 1], ink is 1; labels: (N,) int64 in 0..9.

    Raises:
        ValueError: ``size`` below 8. TypeError: ``size`` is not an int, or ``dtype`` not one of the three.

    Example:
        >>> (x, labels), (x_test, labels_test) = load_digits()
        >>> x.shape, x_test.shape, labels[:5].tolist()
        ((1437, 1, 28, 28), (360, 1, 28, 28), [7, 8, 7, 7, 1])

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49 (CC BY 4.0), see DIGITS.md.
    """
    side = integer("load_digits", "size", size, _SIDE)
    kind = float_dtype("load_digits", dtype)
    # read as a resource: the package may be imported from an archive
    content = files("fastconv.data").joinpath("digits.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        images, labels, order = arrays["images"], arrays["labels"], arrays["order"]
    x = _enlarge(images[order], side, kind)
    y = labels[order].astype(np.int64)
    return (x[:_TRAIN], y[:_TRAIN]), (x[_TRAIN:], y[_TRAIN:])


def float_dtype(who: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return ``dtype`` as a dtype that images can have; DTypeError for all but native float16, float32, float64."""
    try:
        kind = None if dtype is None else np.dtype(dtype)  # None would mean float64 to NumPy
    except TypeError:
        kind = None
    if kind is None or kind not in (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError(f"{who}: dtype is {dtype!r}, float16, float32 or float64 was needed")
    return kind


def _enlarge(images: NDArray[np.uint8], side: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """(N, 8, 8) uint8 -> (N, 1, side, side), bilinear in a centred box."""
    box = max(_SIDE, round(side * 20 / 28))
    work = images.astype(np.promote_types(dtype, np.float32)) / _MAX
    work = _stretch(_stretch(work, box, axis=1), box, axis=2)
    x = np.zeros((len(images), 1, side, side), dtype)
    margin = (side - box) // 2
    x[:, 0, margin : margin + box, margin : margin + box] = work
    return x


def _stretch(images: NDArray[Any], box: int, axis: int) -> NDArray[Any]:
    """Linear interpolation along one axis of (N, h, w): pixel centres aligned, edge pixels repeated outside.

    Elementwise, not a matrix product: the same bits on every machine, whatever its BLAS.
    """
    length = images.shape[axis]
    centre = np.clip((np.arange(box) + 0.5) * length / box - 0.5, 0, length - 1)
    low = np.minimum(centre.astype(np.int64), length - 2)
    fraction = (centre - low).astype(images.dtype)
    fraction = fraction.reshape((-1, 1) if axis == 1 else (-1,))
    below, above = images.take(low, axis), images.take(low + 1, axis)
    # In this form rounding cannot leave [0, 1]: 1 - f and f add up to 1 exactly or less, and rounding is monotone.
    stretched: NDArray[Any] = below * (1 - fraction) + above * fraction
    return stretched
