"""Convolutions of sequences and images, and the transposed one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._arguments.sizes import integer, pair
from fastconv.compat.numpy_ml.neural_nets.layers.base import Arrays, LayerBase
from fastconv.compat.numpy_ml.neural_nets.utils.convolution import checked, deconv_pads, filters, padded_conv2D
from fastconv.compat.numpy_ml.neural_nets.utils.padding import Four, as_pads, pads_1D, pads_2D


class _Convolution(LayerBase):
    """What the three share: kernels, a bias, an activation."""

    learnt = ("W", "b")
    derived = ("Z", "out_rows", "out_cols")

    def __init__(
        self, out_ch: int, pad: Any, stride: int, dilation: int, act_fn: Any, optimizer: Any, init: str,
        dtype: DTypeLike,
    ):  # fmt: skip
        super().__init__(optimizer, act_fn, dtype)
        where = type(self).__name__
        self.out_ch, self.stride = integer(where, "out_ch", out_ch, 1), integer(where, "stride", stride, 1)
        self.dilation = integer(where, "dilation", dilation)
        self.pad, self.init, self.in_ch = pad, init, None

    def _gradients(
        self, dZ: np.ndarray, X: np.ndarray, W: np.ndarray, p: Four
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """The gradients of X, of W as (F, KH, KW, C), and of b."""
        needs = (True, self.trainable, self.trainable)
        dX, dW, db = F.conv2d_backward(
            dZ, X, filters(W), self.stride, as_pads(p), self.dilation + 1, layout="NHWC", needs=needs
        )
        return dX, dW, db  # type: ignore[return-value]


class Conv2D(_Convolution):
    """The convolution of images (N, H, W, C) with learnt kernels W (KH, KW, C, F), plus b, and an activation of it.

    Args:
        out_ch: F.
        kernel_shape: (KH, KW).
        pad: as for `pad2D`.
        stride: pixels between windows.
        dilation: pixels between taps; 0 is none.
        act_fn: an activation, its text, or None.
        optimizer: an optimiser, its text, or None for `SGD()`.
        init: as for `WeightInitializer`.
        dtype: of the parameters; float32 is faster.

    Example:
        >>> layer = Conv2D(8, (3, 3), pad="same", act_fn="ReLU")
        >>> layer.forward(np.zeros((2, 5, 5, 3))).shape, layer.parameters["W"].shape
        ((2, 5, 5, 8), (3, 3, 3, 8))
    """

    settings = ("pad", "init", "in_ch", "out_ch", "stride", "dilation", "kernel_shape")

    def __init__(
        self, out_ch: int, kernel_shape: tuple[int, int], pad: Any = 0, stride: int = 1, dilation: int = 0,
        act_fn: Any = None, optimizer: Any = None, init: str = "glorot_uniform", *, dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        super().__init__(out_ch, pad, stride, dilation, act_fn, optimizer, init, dtype)
        self.kernel_shape = pair("Conv2D", "kernel_shape", kernel_shape, 1)

    def _init_params(self, X: np.ndarray) -> Arrays:
        self.in_ch = X.shape[-1]
        W = self._drawn((*self.kernel_shape, X.shape[-1], self.out_ch), self.init)
        return {"W": W, "b": np.zeros((1, 1, 1, self.out_ch), self.dtype)}

    def _pads(self, X: np.ndarray) -> Four:
        return pads_2D("Conv2D", X.shape, self.pad, self.kernel_shape, self.stride, self.dilation)

    def _fwd(self, X: np.ndarray) -> np.ndarray:
        W, b = self.parameters["W"], self.parameters["b"]
        checked("Conv2D", X, W, 4)
        return padded_conv2D(X, W, b.reshape(-1), self.stride, self._pads(X), self.dilation)

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        dX, dW, db = self._gradients(dZ, X, self.parameters["W"], self._pads(X))
        return dX, {} if dW is None or db is None else {"W": np.moveaxis(dW, 0, 3), "b": db}


class Conv1D(_Convolution):
    """The convolution of sequences (N, L, C) with learnt kernels W (K, C, F), plus b, and an activation of it.

    Args:
        out_ch: F.
        kernel_width: K.
        pad: as for `pad1D`.
        stride: steps between windows.
        dilation: steps between taps; 0 is none.
        act_fn: an activation, its text, or None.
        init: as for `WeightInitializer`.
        optimizer: an optimiser, its text, or None for `SGD()`.
        dtype: of the parameters; float32 is faster.

    Example:
        >>> Conv1D(8, 3, pad="causal").forward(np.zeros((2, 10, 3))).shape
        (2, 10, 8)
    """

    settings = ("pad", "init", "in_ch", "out_ch", "stride", "dilation", "kernel_width")

    def __init__(
        self, out_ch: int, kernel_width: int, pad: Any = 0, stride: int = 1, dilation: int = 0, act_fn: Any = None,
        init: str = "glorot_uniform", optimizer: Any = None, *, dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        super().__init__(out_ch, pad, stride, dilation, act_fn, optimizer, init, dtype)
        self.kernel_width = integer("Conv1D", "kernel_width", kernel_width, 1)

    def _init_params(self, X: np.ndarray) -> Arrays:
        self.in_ch = X.shape[-1]
        W = self._drawn((self.kernel_width, X.shape[-1], self.out_ch), self.init)
        return {"W": W, "b": np.zeros((1, 1, self.out_ch), self.dtype)}

    def _pads(self, X: np.ndarray) -> Four:
        return (0, 0, *pads_1D("Conv1D", X.shape, self.pad, self.kernel_width, self.stride, self.dilation))

    def _fwd(self, X: np.ndarray) -> np.ndarray:
        W, b = self.parameters["W"], self.parameters["b"]
        checked("Conv1D", X, W, 3)
        return padded_conv2D(X[:, None], W[None], b.reshape(-1), self.stride, self._pads(X), self.dilation)[:, 0]

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        dX, dW, db = self._gradients(dZ[:, None], X[:, None], self.parameters["W"][None], self._pads(X))
        return dX[:, 0], {} if dW is None or db is None else {"W": np.moveaxis(dW, 0, 3), "b": db}


class Deconv2D(_Convolution):
    """The transposed convolution of images with learnt kernels W (KH, KW, C, F), plus b, and an activation of it.

    Args:
        out_ch: F.
        kernel_shape: (KH, KW).
        pad: what is cut off at the edges, as for `deconv2D_naive`.
        stride: pixels of the result between the windows of neighbouring pixels.
        act_fn: an activation, its text, or None.
        optimizer: an optimiser, its text, or None for `SGD()`.
        init: as for `WeightInitializer`.
        dtype: of the parameters; float32 is faster.

    Example:
        >>> Deconv2D(8, (2, 2), stride=2).forward(np.zeros((2, 5, 5, 3))).shape
        (2, 10, 10, 8)
    """

    settings = ("pad", "init", "in_ch", "out_ch", "stride", "kernel_shape")

    def __init__(
        self, out_ch: int, kernel_shape: tuple[int, int], pad: Any = 0, stride: int = 1, act_fn: Any = None,
        optimizer: Any = None, init: str = "glorot_uniform", *, dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        super().__init__(out_ch, pad, stride, 0, act_fn, optimizer, init, dtype)
        self.kernel_shape = pair("Deconv2D", "kernel_shape", kernel_shape, 1)

    def _init_params(self, X: np.ndarray) -> Arrays:
        self.in_ch = X.shape[-1]
        W = self._drawn((*self.kernel_shape, X.shape[-1], self.out_ch), self.init)
        return {"W": W, "b": np.zeros((1, 1, 1, self.out_ch), self.dtype)}

    def _options(self, X: np.ndarray) -> dict[str, Any]:
        p = deconv_pads("Deconv2D", X.shape, self.parameters["W"].shape, self.stride, self.pad)
        return {"stride": self.stride, "padding": as_pads(p), "layout": "NHWC"}

    def _fwd(self, X: np.ndarray) -> np.ndarray:
        W, b = self.parameters["W"], self.parameters["b"]
        checked("Deconv2D", X, W, 4)
        return F.conv_transpose2d(X, W.transpose(2, 0, 1, 3), b.reshape(-1), **self._options(X))

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        W, needs = self.parameters["W"].transpose(2, 0, 1, 3), (True, self.trainable, self.trainable)
        dX, dW, db = F.conv_transpose2d_backward(dZ, X, W, needs=needs, **self._options(X))
        of_parameters = {} if dW is None or db is None else {"W": dW.transpose(1, 2, 0, 3), "b": db}
        return dX, of_parameters  # type: ignore[return-value]
