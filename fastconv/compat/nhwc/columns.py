"""Convolution and pooling with the matrices that they are by hand, and images as rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import functional as F
from fastconv._arguments import arrays
from fastconv._arguments.sizes import Int2, pair, sizes
from fastconv.errors import ShapeError


def img2col_conv(X: np.ndarray, filter: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A convolution without padding, and the matrices whose product it is.

    Args:
        X: (N, H, W, C).
        filter: (F, KH, KW, C).
        step: pixels between windows.

    Returns:
        The windows (N*OH*OW, C*KH*KW), the filters (C*KH*KW, F), their product (N*OH*OW, F), and the same as images
        (N, OH, OW, F), where OH = floor((H-KH)/step) + 1.

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> [array.shape for array in img2col_conv(np.zeros((300, 28, 28, 1)), np.zeros((5, 3, 3, 1)), 1)]
        [(202800, 9), (9, 5), (202800, 5), (300, 26, 26, 5)]
    """
    res = F.conv2d(X, filter, stride=step, layout="NHWC")
    columns = F.im2col(arrays.channels_first(X, "NHWC"), filter.shape[1:3], step)
    return columns, arrays.channels_first(filter, "NHWC").reshape(len(filter), -1).T, res.reshape(-1, len(filter)), res


def img2col_maxpool(X: np.ndarray, pool_size: Int2, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The largest pixel of every window, and where in the window it was.

    Args:
        X: (N, H, W, C).
        pool_size: (PH, PW).
        step: pixels between windows.

    Returns:
        The windows (N*OH*OW, PH*PW, C), their largest pixels (N*OH*OW, C), the places of those in their windows
        (N*OH*OW, C), y * PW + x, the first of equals, and the largest pixels as images (N, OH, OW, C).

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> windows, largest, index, res = img2col_maxpool(np.arange(16.0).reshape(1, 4, 4, 1), (2, 2), 2)
        >>> largest[:, 0], index[:, 0], res.shape
        (array([ 5.,  7., 13., 15.]), array([3, 3, 3, 3]), (1, 2, 2, 1))
    """
    PH, PW = pair("img2col_maxpool", "pool_size", pool_size, 1)
    res, index = pooled(X, (PH, PW), step)
    C = X.shape[3]
    windows = F.im2col(arrays.channels_first(X, "NHWC"), (PH, PW), step).reshape(-1, C, PH * PW)
    return np.moveaxis(windows, 1, 2).astype(X.dtype, copy=False), res.reshape(-1, C), index, res


def pooled(X: np.ndarray, pool_size: tuple[int, int], step: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest pixels (N, OH, OW, C) and their places in their windows (N*OH*OW, C)."""
    res, cells = F.max_pool2d_with_indices(X, pool_size, step, layout="NHWC")
    return res, places(cells, X.shape[2], pool_size, step)


def places(cells: np.ndarray, W: int, pool_size: tuple[int, int], step: int) -> np.ndarray:
    """The places in their windows (N*OH*OW, C) of pixels that are the cells (N, OH, OW, C) of images W wide."""
    index = cells + cells // W * (pool_size[1] - W) - corners(cells.shape, step, step, pool_size[1])
    return index.reshape(-1, cells.shape[3])


def corners(shape: tuple[int, ...], vertical: int, horizontal: int, width: int) -> np.ndarray:
    """The place y * width + x of the first pixel of every window, to be broadcast over `shape`, (N, OH, OW, C)."""
    return np.arange(shape[1])[:, None, None] * vertical * width + np.arange(shape[2])[:, None] * horizontal


def flatten(x_pool2: np.ndarray) -> np.ndarray:
    """(N, H, W, C) to (N, C*H*W), channel by channel.

    Example:
        >>> flatten(np.array([[[[1, 10], [2, 20]]]]))
        array([[ 1,  2, 10, 20]])
    """
    return arrays.channels_first(x_pool2, "NHWC").reshape(len(x_pool2), -1)


def conv_flatten(x_flatten: np.ndarray, os: tuple[int, ...]) -> np.ndarray:
    """What `flatten` made, as images of the shape `os`, (N, H, W, C), again.

    Example:
        >>> conv_flatten(np.array([[1, 2, 10, 20]]), (1, 1, 2, 2)).tolist()
        [[[[1, 10], [2, 20]]]]
    """
    N, H, W, C = sizes("conv_flatten", "os", os, (4,))
    return arrays.channels_as(x_flatten.reshape(N, C, H, W), "NHWC")


def swap_first_end_axis(mat: np.ndarray) -> np.ndarray:
    """(N, H, W, C) as (C, H, W, N), a copy.

    Raises:
        ShapeError: `mat` has another number of dimensions.
        TypeError: it is not a numeric array.

    Example:
        >>> swap_first_end_axis(np.zeros((2, 3, 4, 5))).shape
        (5, 3, 4, 2)
    """
    if arrays.numeric("swap_first_end_axis", "mat", mat).ndim != 4:
        raise ShapeError(f"swap_first_end_axis: mat must have 4 dimensions, got shape {mat.shape}")
    return mat.swapaxes(0, 3).copy()


def tensorHandle(X: Sequence[np.ndarray] | np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Every image of X in a shape, as one array.

    Raises:
        ShapeError: an image has another number of pixels.

    Example:
        >>> tensorHandle(np.zeros((2, 784)), (28, 28, 1)).shape
        (2, 28, 28, 1)
    """
    wanted = sizes("tensorHandle", "shape", tuple(shape), tuple(range(1, 9)))
    try:
        return np.stack([np.reshape(image, wanted) for image in X]) if len(X) else np.zeros((0, *wanted))
    except ValueError as error:
        raise ShapeError(f"tensorHandle: X must hold images that fit shape {wanted} ({error})") from None
