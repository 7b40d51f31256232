"""The convolutional layer of "ML-From-Scratch" and the functions under it, for images (N, C, H, W).

A layer updates its own weights in `backward_pass`, by an optimiser with `update(weights, gradient) -> weights`.

Source: names and behaviour of E. Lindernoren's ML-From-Scratch, `deep_learning/layers.py`.
"""

from __future__ import annotations

import copy
import math
from typing import Any, TypeAlias

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


class Layer:
    """The base of the layers; one of your own defines `forward_pass`, `backward_pass` and `output_shape`."""

    input_shape: tuple[int, ...] | None = None

    def set_input_shape(self, shape: tuple[int, ...]) -> None:
        """Tell the layer the shape (C, H, W) of its input: the `output_shape()` of the layer before it."""
        self.input_shape = shape

    def layer_name(self) -> str:
        """What the layer is called in a model's summary."""
        return type(self).__name__

    def parameters(self) -> int:
        """How many parameters are learnt."""
        return 0

    def forward_pass(self, X: np.ndarray, training: bool) -> np.ndarray:
        """The layer's result for a batch X."""
        raise NotImplementedError(f"{self.layer_name()} does not define forward_pass(X, training)")

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the input for the gradient of the result; updates the layer's own weights."""
        raise NotImplementedError(f"{self.layer_name()} does not define backward_pass(accum_grad)")

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the result, without the batch."""
        raise NotImplementedError(f"{self.layer_name()} does not define output_shape()")


class Conv2D(Layer):
    """A bank of learnt kernels convolved with images (N, C, H, W).

    Args:
        n_filters: F.
        filter_shape: (FH, FW).
        input_shape: (C, H, W); the model tells it to any but the first layer.
        padding: `"same"` or `"valid"`, as for `determine_padding`.
        stride: pixels between windows.

    Attributes:
        W: the weights (F, C, FH, FW) float64, uniform from -1/sqrt(FH*FW) to 1/sqrt(FH*FW).
        w0: the biases (F, 1) float64, zeros at first.
        trainable: whether `backward_pass` updates them.

    Example:
        >>> conv = Conv2D(16, (3, 3), input_shape=(3, 32, 32), padding="same", stride=1)
        >>> conv.initialize(None)
        >>> conv.forward_pass(np.zeros((1, 3, 32, 32), np.uint8)).shape, conv.parameters()
        ((1, 16, 32, 32), 448)
    """

    def __init__(
        self, n_filters: int, filter_shape: Int2, input_shape: tuple[int, int, int] | None = None,
        padding: str = "same", stride: int = 1,
    ):  # fmt: skip
        self.n_filters = n_filters
        self.filter_shape = filter_shape
        self.input_shape = input_shape
        self.padding = padding
        self.stride = stride
        self.trainable = True
        self.layer_input: np.ndarray | None = None

    def initialize(self, optimizer: Any) -> None:
        """Draw the weights and take a copy of the optimiser for each array; None leaves them as they are drawn.

        Raises:
            ValueError: the shape of the input is not known.
        """
        shape = (self.n_filters, self._image()[0], *pair(self.layer_name(), "filter_shape", self.filter_shape, 1))
        limit = 1 / math.sqrt(math.prod(shape[2:]))
        self.W = np.random.uniform(-limit, limit, shape)  # noqa: NPY002
        self.w0 = np.zeros((self.n_filters, 1))
        self.W_opt, self.w0_opt = copy.copy(optimizer), copy.copy(optimizer)

    def parameters(self) -> int:
        """The number of weights and biases."""
        return self.W.size + self.w0.size

    def forward_pass(self, X: np.ndarray, training: bool = True) -> np.ndarray:
        """The convolution of a batch (N, C, H, W): (N, F, OH, OW)."""
        self.layer_input = X
        return F.conv2d(X, self.W, self.w0[:, 0], self.stride, determine_padding(self.filter_shape, self.padding))

    def backward_pass(self, accum_grad: np.ndarray) -> np.ndarray:
        """The gradient of the last batch that went forward; then the weights are updated.

        Raises:
            ValueError: nothing went forward.
        """
        if self.layer_input is None:
            raise ValueError(f"{self.layer_name()}: backward_pass needs a forward_pass before it")
        learns = self.trainable and self.W_opt is not None
        padding = determine_padding(self.filter_shape, self.padding)
        grad_x, grad_w, grad_w0 = F.conv2d_backward(
            accum_grad, self.layer_input, self.W, self.stride, padding, needs=(True, learns, learns)
        )
        if learns:
            self.W = self.W_opt.update(self.W, grad_w)
            self.w0 = self.w0_opt.update(self.w0, grad_w0[:, None])  # type: ignore[index]
        return grad_x  # type: ignore[return-value]

    def output_shape(self) -> tuple[int, int, int]:
        """(F, OH, OW)."""
        where = self.layer_name()
        padding = determine_padding(self.filter_shape, self.padding)
        g = window_geometry(where, self._image(), self.filter_shape, self.stride, padding, 1)
        return self.n_filters, g.rows.out, g.columns.out

    def _image(self) -> tuple[int, ...]:
        if self.input_shape is None:
            raise ValueError(f"{self.layer_name()}: input_shape must be given to the first layer, got None")
        return sizes(self.layer_name(), "input_shape", self.input_shape, (3,))
