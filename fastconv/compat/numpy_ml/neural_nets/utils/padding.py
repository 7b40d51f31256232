"""How much padding gives which size, and images and columns with it.

A dilation counts the pixels between taps: 0 is none, where `fastconv.conv2d` has 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments import arrays
from fastconv._arguments.sizes import Int2, Pads, integer, pair, sizes
from fastconv.errors import ShapeError

Four = tuple[int, int, int, int]


def _needed(where: str, size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """How many pixels `size` lacks for `out` windows."""
    reach = kernel + (kernel - 1) * dilation
    total = stride * (out - 1) + reach - size
    if total < 0:
        if (size - reach) // stride + 1 == out:
            return 0  # the last pixels are left over
        raise ShapeError(f"{where}: out_dim {out} is less than {size} pixels give without padding")
    return total


def calc_pad_dims_2D(
    X_shape: tuple[int, ...], out_dim: tuple[int, int], kernel_shape: tuple[int, int], stride: int, dilation: int = 0
) -> Four:
    """(top, bottom, left, right) of the padding that gives results of `out_dim`; an odd one has more at the end.

    Args:
        X_shape: (N, H, W, C).
        out_dim: (OH, OW).
        kernel_shape: (KH, KW).
        stride: pixels between windows.
        dilation: pixels between taps.

    Raises:
        ShapeError: no padding gives them.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> calc_pad_dims_2D((1, 5, 5, 3), (5, 5), (3, 2), 1)
        (1, 1, 0, 1)
    """
    where = "calc_pad_dims_2D"
    _, H, W, _ = sizes(where, "X_shape", X_shape, (4,))
    out, kernel = sizes(where, "out_dim", out_dim, (2,)), pair(where, "kernel_shape", kernel_shape, 1)
    s, d = integer(where, "stride", stride, 1), integer(where, "dilation", dilation)
    rows, columns = (_needed(where, *each, s, d) for each in zip((H, W), out, kernel))
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def calc_pad_dims_1D(
    X_shape: tuple[int, ...], l_out: int, kernel_width: int, stride: int, dilation: int = 0, causal: bool = False
) -> tuple[int, int]:
    """(left, right) of the padding that gives sequences of `l_out`; with `causal` all of it on the left.

    Example:
        >>> calc_pad_dims_1D((1, 5, 3), 5, 3, 1), calc_pad_dims_1D((1, 5, 3), 5, 3, 1, causal=True)
        ((1, 1), (2, 0))
    """
    where = "calc_pad_dims_1D"
    _, L, _ = sizes(where, "X_shape", X_shape, (3,))
    out, kernel = integer(where, "l_out", l_out, 1), integer(where, "kernel_width", kernel_width, 1)
    s, d = integer(where, "stride", stride, 1), integer(where, "dilation", dilation)
    total = _needed(where, L, out, kernel, s, d)
    return (total, 0) if causal else (total // 2, total - total // 2)


def pads_2D(where: str, X_shape: tuple[int, ...], pad: Any, kernel: Any, stride: Any, dilation: int) -> Four:
    """`pad` in any of its forms as (top, bottom, left, right)."""
    if isinstance(pad, str):
        if pad != "same":
            raise ValueError(f"{where}: pad must be integers or 'same', got {pad!r}")
        if kernel is None or stride is None:
            raise ValueError(f"{where}: pad 'same' needs kernel_shape and stride")
        return calc_pad_dims_2D(X_shape, (X_shape[1], X_shape[2]), kernel, stride, dilation)
    if isinstance(pad, tuple | list):
        p = sizes(where, "pad", pad, (2, 4))
        return (p[0], p[0], p[1], p[1]) if len(p) == 2 else (p[0], p[1], p[2], p[3])
    one = integer(where, "pad", pad)
    return one, one, one, one


def pads_1D(where: str, X_shape: tuple[int, ...], pad: Any, kernel: Any, stride: Any, dilation: int) -> tuple[int, int]:
    """`pad` in any of its forms as (left, right)."""
    if isinstance(pad, str):
        if pad not in ("same", "causal"):
            raise ValueError(f"{where}: pad must be integers, 'same' or 'causal', got {pad!r}")
        if kernel is None or stride is None:
            raise ValueError(f"{where}: pad {pad!r} needs kernel_width and stride")
        return calc_pad_dims_1D(X_shape, X_shape[1], kernel, stride, dilation, causal=pad == "causal")
    return pair(where, "pad", pad)


def pad2D(
    X: np.ndarray, pad: Any, kernel_shape: tuple[int, int] | None = None, stride: int | None = None, dilation: int = 0
) -> tuple[np.ndarray, Four]:
    """Images (N, H, W, C) with zeros around them, and (top, bottom, left, right) of these.

    Args:
        X: the images.
        pad: pixels on every side, (rows, columns), all four, or `"same"`: as many as keep the size.
        kernel_shape: (KH, KW), for `"same"`.
        stride: likewise.
        dilation: likewise.

    Example:
        >>> padded, pads = pad2D(np.ones((1, 2, 2, 1)), (0, 1))
        >>> padded.shape, pads
        ((1, 2, 4, 1), (0, 0, 1, 1))
    """
    if arrays.numeric("pad2D", "X", X).ndim != 4:
        raise ShapeError(f"pad2D: X must have shape (N, H, W, C), got {X.shape}")
    p = pads_2D("pad2D", X.shape, pad, kernel_shape, stride, dilation)
    return np.pad(X, ((0, 0), p[:2], p[2:], (0, 0))), p


def pad1D(
    X: np.ndarray, pad: Any, kernel_width: int | None = None, stride: int | None = None, dilation: int = 0
) -> tuple[np.ndarray, tuple[int, int]]:
    """Sequences (N, L, C) with zeros at their ends, and (left, right) of these.

    Args:
        X: the sequences.
        pad: at both ends, (left, right), `"same"`: as many as keep the length, or `"causal"`: all of these at the left.
        kernel_width: for `"same"` and `"causal"`.
        stride: likewise.
        dilation: likewise.
    """
    if arrays.numeric("pad1D", "X", X).ndim != 3:
        raise ShapeError(f"pad1D: X must have shape (N, L, C), got {X.shape}")
    p = pads_1D("pad1D", X.shape, pad, kernel_width, stride, dilation)
    return np.pad(X, ((0, 0), p, (0, 0))), p


def dilate(X: np.ndarray, d: int) -> np.ndarray:
    """Images (N, H, W, C) with d zeros between neighbouring pixels.

    Example:
        >>> dilate(np.array([1, 2]).reshape(1, 1, 2, 1), 2)[0, 0, :, 0]
        array([1, 0, 0, 2])
    """
    apart = integer("dilate", "d", d) + 1
    N, H, W, C = arrays.numeric("dilate", "X", X).shape
    found = np.zeros((N, (H - 1) * apart + 1, (W - 1) * apart + 1, C), X.dtype)
    found[:, ::apart, ::apart] = X
    return found


def as_pads(p: Four) -> Pads:
    """(top, bottom, left, right) as fastconv takes them."""
    return (p[0], p[1]), (p[2], p[3])


def im2col(
    X: np.ndarray, W_shape: tuple[int, int, int, int], pad: Any, stride: int, dilation: int = 0
) -> tuple[np.ndarray, Four]:
    """The windows of images (N, H, W, C) as columns (C*KH*KW, OH*OW*N), rows (c, ky, kx), and the padding.

    Args:
        X: the images.
        W_shape: (KH, KW, C, F).
        pad: as for `pad2D`.
        stride: pixels between windows.
        dilation: pixels between taps.

    Example:
        >>> columns, pads = im2col(np.zeros((2, 5, 5, 3)), (3, 3, 3, 8), "same", 1)
        >>> columns.shape, pads
        ((27, 50), (1, 1, 1, 1))
    """
    KH, KW, C, _ = sizes("im2col", "W_shape", W_shape, (4,))
    if arrays.numeric("im2col", "X", X).ndim != 4 or X.shape[3] != C:
        raise ShapeError(f"im2col: X must have shape (N, H, W, {C}), got {X.shape}")
    p = pads_2D("im2col", X.shape, pad, (KH, KW), stride, dilation)
    images: np.ndarray = arrays.channels_first(X, "NHWC")
    columns = F.im2col(images, (KH, KW), stride, as_pads(p), dilation + 1, order="cols")
    return columns.astype(X.dtype, copy=False), p


def col2im(
    X_col: np.ndarray, X_shape: tuple[int, int, int, int], W_shape: tuple[int, int, int, int], pad: Four, stride: Int2,
    dilation: int = 0,
) -> np.ndarray:  # fmt: skip
    """Every column's values added to the pixels they came from: images (N, C, H, W), the channels not last.

    Args:
        X_col: (C*KH*KW, OH*OW*N).
        X_shape: (N, H, W, C) of the images without padding.
        W_shape: (KH, KW, C, F).
        pad: (top, bottom, left, right).
        stride: pixels between windows.
        dilation: pixels between taps.

    Example:
        >>> col2im(np.ones((9, 9)), (1, 3, 3, 1), (3, 3, 1, 1), (1, 1, 1, 1), 1)[0, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])
    """
    if not isinstance(pad, tuple | list) or len(pad) != 4:
        raise TypeError(f"col2im: pad must be (top, bottom, left, right), got {pad!r}")
    N, H, W, C = sizes("col2im", "X_shape", X_shape, (4,))
    KH, KW, _, _ = sizes("col2im", "W_shape", W_shape, (4,))
    return F.col2im(X_col, (N, C, H, W), (KH, KW), stride, as_pads(pad), dilation + 1, order="cols")
