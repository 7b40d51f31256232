"""Columns of images, and helpers of the scripts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import integer
from fastconv.errors import ShapeError


def im2col(input_data: np.ndarray, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> np.ndarray:
    """The windows as rows (N*OH*OW, C*FH*FW) of the images' dtype: rows (n, oy, ox), columns (c, ky, kx).

    See `fastconv.im2col`; integers beyond 2**53 are rounded.

    Example:
        >>> im2col(np.zeros((10, 3, 7, 7), np.float32), 5, 5).shape
        (90, 75)
    """
    return F.im2col(input_data, (filter_h, filter_w), stride, pad).astype(input_data.dtype, copy=False)


def col2im(
    col: np.ndarray, input_shape: tuple[int, int, int, int], filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> np.ndarray:
    """Every row's values added to the pixels they came from, the adjoint of `im2col`: see `fastconv.col2im`.

    Example:
        >>> col2im(np.ones((4, 4)), (1, 1, 3, 3), 2, 2)[0, 0]
        array([[1., 2., 1.],
               [2., 4., 2.],
               [1., 2., 1.]])
    """
    return F.col2im(col, input_shape, (filter_h, filter_w), stride, pad)


def conv_output_size(input_size: int, filter_size: int, stride: int = 1, pad: int = 0) -> int:
    """How many windows fit, floor((input + 2*pad - filter) / stride) + 1; the book's may be no integer.

    Example:
        >>> conv_output_size(28, 5), conv_output_size(28, 5, stride=2)
        (24, 12)
    """
    sizes = zip(("input_size", "filter_size", "pad"), (input_size, filter_size, pad), (1, 1, 0))
    size, kernel, padding = (integer("conv_output_size", name, value, least) for name, value, least in sizes)
    return (size + 2 * padding - kernel) // integer("conv_output_size", "stride", stride, 1) + 1


def shuffle_dataset(x: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and t in the same random order, from NumPy's global state."""
    order = np.random.permutation(len(x))  # noqa: NPY002
    return x[order], t[order]


def smooth_curve(x: Sequence[float] | np.ndarray) -> np.ndarray:
    """A curve averaged over 11 points with a Kaiser window, mirrored at its ends.

    Example:
        >>> len(smooth_curve(np.arange(20.0)))
        20
    """
    values = np.asarray(x)
    if values.ndim != 1 or len(values) < 11:
        raise ShapeError(f"smooth_curve: x must have at least 11 values, got shape {values.shape}")
    window = np.kaiser(11, 2)
    mirrored = np.concatenate((np.flip(values[1:11]), values, np.flip(values[-10:])))
    smooth = np.convolve(window / window.sum(), mirrored, mode="valid")
    return smooth[5 : len(smooth) - 5]
