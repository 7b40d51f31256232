"""Correlation and convolution of plain two-dimensional arrays, for image filters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.names import one_of
from fastconv._geometry.conv import conv_geometry
from fastconv.errors import ShapeError
from fastconv.functional.conv import convolution

MODES = ("valid", "same", "full")
# pixels of a larger image are taken in strips, whose copies, in the dtype that is computed in and padded, are small
STRIP = 2**22


def correlate2d(x: np.ndarray, kernel: np.ndarray, mode: str = "valid") -> np.ndarray:
    """Slide a kernel over an image, as `conv2d` does: without flipping it.

    y[i, j] = sum over ky, kx of kernel[ky, kx] * x[i + ky - top, j + kx - left], zero outside the image

    Args:
        x: (H, W), of any dtype that `conv2d` takes, promoted as there.
        kernel: (KH, KW).
        mode: `"valid"`: only where they overlap entirely, (H-KH+1, W-KW+1), whichever of the two is the larger one;
            `"same"`: (H, W), centred; `"full"`: wherever they overlap, (H+KH-1, W+KW-1).

    Returns:
        y, a two-dimensional array.

    Raises:
        ValueError: there is no such mode; an array is empty or not two-dimensional, or neither contains the other
            with `"valid"` (ShapeError).
        TypeError: an argument is not a numeric array.

    Example:
        >>> image = np.array([[1.0, 1.0, 0.0, 0.0, 1.0]])
        >>> correlate2d(image, np.array([[1.0, -1.0]]))
        array([[ 0.,  1.,  0., -1.]])

    Source: sizes and centring of SciPy's `scipy.signal.correlate2d`.
    """
    where = "correlate2d"
    x, kernel = _planes(where, x, kernel)
    padding = padding_of(checked_mode(where, mode), False)
    if mode == "valid" and covers(kernel, x):
        return np.ascontiguousarray(_slid(where, kernel, x, padding)[::-1, ::-1])
    return _slid(where, x, kernel, padding)


def convolve2d(x: np.ndarray, kernel: np.ndarray, mode: str = "valid") -> np.ndarray:
    """Convolve an image with a kernel in the mathematical sense: the kernel is flipped.

    y[i, j] = sum over ky, kx of kernel[ky, kx] * x[i - ky + bottom, j - kx + right], zero outside the image

    Args:
        x: (H, W), of any dtype that `conv2d` takes, promoted as there.
        kernel: (KH, KW).
        mode: as for `correlate2d`.

    Returns:
        y, a two-dimensional array.

    Raises:
        ValueError: as for `correlate2d`.
        TypeError: an argument is not a numeric array.

    Example:
        >>> convolve2d(np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 1.0, 0.5]]), "full")
        array([[0. , 1. , 2.5, 4. , 1.5]])

    Source: sizes and centring of SciPy's `scipy.signal.convolve2d`.
    """
    where = "convolve2d"
    x, kernel = _planes(where, x, kernel)
    padding = padding_of(checked_mode(where, mode), True)
    if mode == "valid" and covers(kernel, x):
        x, kernel = kernel, x  # convolution commutes
    return _slid(where, x, kernel[::-1, ::-1], padding)


def _slid(where: str, x: np.ndarray, kernel: np.ndarray, padding: str) -> np.ndarray:
    if x.size > STRIP:
        return _slid_in_strips(where, x, kernel, padding)
    return convolution(x[None], kernel[None, None], None, 1, padding, 1, 1, where=where)[0]


def _slid_in_strips(where: str, x: np.ndarray, kernel: np.ndarray, padding: str) -> np.ndarray:
    """As `_slid`, one part of the longer axis after the other."""
    geometry = conv_geometry(where, (1, *x.shape), (1, 1, *kernel.shape), 1, padding, 1, 1)
    y = arrays.empty(where, (geometry.rows.out, geometry.columns.out), arrays.result_dtype(x, kernel))
    wide = x.shape[1] > x.shape[0]
    along, across = (geometry.columns, geometry.rows) if wide else (geometry.rows, geometry.columns)
    images, results = (x.T, y.T) if wide else (x, y)
    step = max(STRIP // across.size, along.kernel)
    for first in range(0, along.out, step):
        last = min(first + step, along.out)
        begin, end = first - along.before, last - along.before + along.kernel - 1
        part = images[max(begin, 0) : end]
        margins = (max(-begin, 0), max(end - along.size, 0)), (across.before, across.after)
        image, pads = (part.T, margins[::-1]) if wide else (part, margins)
        found = convolution(image[None], kernel[None, None], None, 1, pads, 1, 1, where=where)[0]
        results[first:last] = found.T if wide else found
    return y


def _planes(where: str, x: Any, kernel: Any) -> tuple[np.ndarray, np.ndarray]:
    x, kernel = arrays.numeric(where, "x", x), arrays.numeric(where, "kernel", kernel)
    for name, array in (("x", x), ("kernel", kernel)):
        if array.ndim != 2 or 0 in array.shape:
            raise ShapeError(f"{where}: {name} must have 2 dimensions without a zero, got shape {array.shape}")
    return x, kernel


def checked_mode(where: str, mode: Any) -> str:
    """`mode`, or an error that lists the modes."""
    return one_of(where, "mode", mode, MODES)


def padding_of(mode: str, flips: bool) -> str:
    """The padding of `conv2d` that a mode stands for, where the kernel is flipped or not."""
    # of an even kernel the middle is the left of the two taps, which flipping makes the right one
    return "same_lower" if mode == "same" and flips else mode


def covers(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a is as large as b along both axes, and larger along one; for jitted code too."""
    return a.shape != b.shape and a.shape[0] >= b.shape[0] and a.shape[1] >= b.shape[1]
