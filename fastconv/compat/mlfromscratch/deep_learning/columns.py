"""Images as columns, and the padding that keeps their size."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import Int2, Pads, pair, sizes
from fastconv._geometry.conv import window_geometry

Images: TypeAlias = tuple[int, int, int, int]


def determine_padding(filter_shape: Int2, output_shape: str = "same") -> Pads:
    """((top, bottom), (left, right)) of the padding; with `"same"` the larger half of an uneven one is at the end.

    Args:
        filter_shape: (FH, FW).
        output_shape: `"same"`, whatever the stride is, or `"valid"`: none.

    Raises:
        ValueError: `output_shape` is neither, or a size is out of range.

    Example:
        >>> determine_padding((3, 3)), determine_padding((2, 2))
        (((1, 1), (1, 1)), ((0, 1), (0, 1)))
    """
    where = "determine_padding"
    FH, FW = pair(where, "filter_shape", filter_shape, 1)
    if not isinstance(output_shape, str) or output_shape not in ("same", "valid"):
        raise ValueError(f"{where}: output_shape must be 'same' or 'valid', got {output_shape!r}")
    if output_shape == "valid":
        return (0, 0), (0, 0)
    return ((FH - 1) // 2, FH // 2), ((FW - 1) // 2, FW // 2)


def get_im2col_indices(
    images_shape: Images, filter_shape: Int2, padding: Pads, stride: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each element of the columns comes from: `columns = padded[:, k, i, j]`.

    Args:
        images_shape: (N, C, H, W).
        filter_shape: (FH, FW).
        padding: from `determine_padding`.
        stride: pixels between windows.

    Returns:
        (k, i, j), int64: the channel (C*FH*FW, 1), and the row and the column in the padded image
        (C*FH*FW, OH*OW).

    Raises:
        ShapeError: sizes do not fit.

    Example:
        >>> k, i, j = get_im2col_indices((1, 3, 32, 32), (3, 3), ((1, 1), (1, 1)))
        >>> k.shape, i.shape, j.shape, i[:9, 0].tolist()
        ((27, 1), (27, 1024), (27, 1024), [0, 0, 0, 1, 1, 1, 2, 2, 2])
    """
    where = "get_im2col_indices"
    _, C, H, W = sizes(where, "images_shape", images_shape, (4,))
    FH, FW = pair(where, "filter_shape", filter_shape, 1)
    geometry = window_geometry(where, (C, H, W), (FH, FW), stride, padding, 1)
    k, ky, kx = np.indices((C, FH, FW)).reshape(3, -1, 1)
    oy, ox = np.indices((geometry.rows.out, geometry.columns.out)).reshape(2, 1, -1)
    return k, geometry.rows.stride * oy + ky, geometry.columns.stride * ox + kx


def image_to_column(images: np.ndarray, filter_shape: Int2, stride: int, output_shape: str = "same") -> np.ndarray:
    """The windows as columns (C*FH*FW, OH*OW*N) of the images' dtype: rows (c, ky, kx), columns (oy, ox, n).

    See `fastconv.im2col`; integers beyond 2**53 are rounded.

    Example:
        >>> image_to_column(np.zeros((64, 3, 32, 32), np.uint8), (3, 3), stride=1).shape
        (27, 65536)
    """
    padding = determine_padding(filter_shape, output_shape)
    return F.im2col(images, filter_shape, stride, padding, order="cols").astype(images.dtype, copy=False)


def column_to_image(
    cols: np.ndarray, images_shape: Images, filter_shape: Int2, stride: int, output_shape: str = "same"
) -> np.ndarray:
    """Every column's values added to the pixels they came from, the adjoint of `image_to_column`: see `col2im`.

    Example:
        >>> column_to_image(np.ones((9, 9)), (1, 1, 3, 3), (3, 3), stride=1)[0, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])
    """
    padding = determine_padding(filter_shape, output_shape)
    return F.col2im(cols, images_shape, filter_shape, stride, padding, order="cols")
