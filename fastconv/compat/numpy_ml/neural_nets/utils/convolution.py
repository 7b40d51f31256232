"""Convolutions of images (N, H, W, C) and sequences (N, L, C) with kernels (KH, KW, C, F) and (K, C, F)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv._arguments import arrays
from fastconv._arguments.sizes import integer, sizes
from fastconv.compat.numpy_ml.neural_nets.utils.padding import Four, as_pads, pads_1D, pads_2D
from fastconv.errors import ShapeError


def checked(where: str, X: Any, W: Any, ndim: int) -> None:
    """Raise an error unless X and W are numeric arrays of `ndim` dimensions whose channels fit."""
    form = ("(N, L, C)", "(K, C, F)") if ndim == 3 else ("(N, H, W, C)", "(KH, KW, C, F)")
    for name, array, wanted in (("X", X, form[0]), ("W", W, form[1])):
        if arrays.numeric(where, name, array).ndim != ndim:
            raise ShapeError(f"{where}: {name} must have shape {wanted}, got {array.shape}")
    if X.shape[-1] != W.shape[-2]:
        raise ShapeError(f"{where}: X must have {W.shape[-2]} channels, got shape {X.shape}")


def filters(W: np.ndarray) -> np.ndarray:
    """Kernels (KH, KW, C, F) as (F, KH, KW, C)."""
    return np.moveaxis(W, 3, 0)


def padded_conv2D(X: np.ndarray, W: np.ndarray, b: Any, stride: int, p: Four, dilation: int) -> np.ndarray:
    """The convolution, plus b (F,) or None, of checked arrays."""
    return F.conv2d(X, filters(W), b, stride, as_pads(p), dilation + 1, layout="NHWC")


def conv2D(X: np.ndarray, W: np.ndarray, stride: int, pad: Any, dilation: int = 0) -> np.ndarray:
    """The convolution (N, OH, OW, F) of images (N, H, W, C) with kernels (KH, KW, C, F).

    Args:
        X: the images.
        W: the kernels.
        stride: pixels between windows.
        pad: as for `pad2D`.
        dilation: pixels between taps; 0 is none.

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> conv2D(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), 1, "same")[0, :, :, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])
    """
    checked("conv2D", X, W, 4)
    p = pads_2D("conv2D", X.shape, pad, W.shape[:2], stride, integer("conv2D", "dilation", dilation))
    return padded_conv2D(X, W, None, stride, p, dilation)


conv2D_naive = conv2D  # the same result; the original's has loops


def conv1D(X: np.ndarray, W: np.ndarray, stride: int, pad: Any, dilation: int = 0) -> np.ndarray:
    """The convolution (N, OL, F) of sequences (N, L, C) with kernels (K, C, F); `pad` as for `pad1D`.

    Example:
        >>> conv1D(np.ones((1, 3, 1)), np.ones((2, 1, 1)), 1, "causal")[0, :, 0]
        array([1., 2., 2.])
    """
    checked("conv1D", X, W, 3)
    p = pads_1D("conv1D", X.shape, pad, W.shape[0], stride, integer("conv1D", "dilation", dilation))
    return padded_conv2D(X[:, None], W[None], None, stride, (0, 0, *p), dilation)[:, 0]


def deconv2D_naive(X: np.ndarray, W: np.ndarray, stride: int, pad: Any, dilation: int = 0) -> np.ndarray:
    """The transposed convolution of images (N, H, W, C) with kernels (KH, KW, C, F); `pad` is cut off at the edges.

    Args:
        X: the images.
        W: the kernels.
        stride: pixels of the result between the windows of neighbouring pixels of X.
        pad: as for `pad2D`; `"same"` gives (H - 1) * stride + 1 rows.
        dilation: pixels between taps; 0 is none.

    Example:
        >>> deconv2D_naive(np.array([1.0, 2.0]).reshape(1, 1, 2, 1), np.ones((1, 3, 1, 1)), 2, 0)[0, 0, :, 0]
        array([1., 1., 3., 2., 2.])
    """
    checked("deconv2D_naive", X, W, 4)
    p = deconv_pads("deconv2D_naive", X.shape, W.shape, stride, pad, dilation)
    return F.conv_transpose2d(
        X, W.transpose(2, 0, 1, 3), None, stride, as_pads(p), dilation=dilation + 1, layout="NHWC"
    )


def deconv_pads(
    where: str, X_shape: tuple[int, ...], W_shape: tuple[int, ...], stride: Any, pad: Any, dilation: int = 0
) -> Four:
    """What is cut off at the edges of a transposed convolution; `"same"` as of the dilated image."""
    N, H, W, C = X_shape
    s = integer(where, "stride", stride, 1)
    apart = (N, (H - 1) * s + 1, (W - 1) * s + 1, C)
    return pads_2D(where, apart, pad, W_shape[:2], 1, integer(where, "dilation", dilation))


def calc_conv_out_dims(
    X_shape: tuple[int, ...], W_shape: tuple[int, ...], stride: int = 1, pad: Any = 0, dilation: int = 0
) -> tuple[int, ...]:
    """The shape of `conv2D`, or of `conv1D` for shapes of three sizes.

    Example:
        >>> calc_conv_out_dims((8, 28, 28, 1), (5, 5, 1, 6), pad="same"), calc_conv_out_dims((8, 9, 2), (3, 2, 4))
        ((8, 28, 28, 6), (8, 7, 4))
    """
    where = "calc_conv_out_dims"
    X, W = sizes(where, "X_shape", X_shape, (3, 4)), sizes(where, "W_shape", W_shape, (3, 4))
    s, d = integer(where, "stride", stride, 1), integer(where, "dilation", dilation)
    if len(X) != len(W):
        raise ShapeError(f"{where}: W_shape must have {len(X)} sizes, got {W}")
    if len(X) == 3:
        pads: tuple[int, ...] = pads_1D(where, X, pad, W[0], s, d)
    else:
        pads = pads_2D(where, X, pad, W[:2], s, d)
    reach = [k + (k - 1) * d for k in W[:-2]]
    outs = [(n + pads[2 * i] + pads[2 * i + 1] - reach[i]) // s + 1 for i, n in enumerate(X[1:-1])]
    if min(outs) < 1:
        raise ShapeError(f"{where}: a kernel of {W[:-2]} does not fit into {X[1:-1]} pixels with padding {pads}")
    return (X[0], *outs, W[-1])
