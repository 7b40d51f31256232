"""LeNet-5 by hand, channels last: images (N, H, W, C), filters (F, KH, KW, C), dense weights (IN, OUT), no biases.

`forward` returns what each layer keeps in a dictionary, its `cash`: `z_p` and `a_p`, the pre-activation and the
activation of the layer before, `z` and `a`, its own, and `w`, its weights or the size of its window. A `..._backprop`
takes the gradient of its layer's `z` and that dictionary. What is flattened is channel-major: (c, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fastconv import functional as F
from fastconv._arguments import arrays
from fastconv._arguments.sizes import Int2, integer, pair, sizes
from fastconv.errors import ShapeError

Cash: TypeAlias = dict[str, Any]


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
    res, index = _pooled(X, (PH, PW), step)
    C = X.shape[3]
    windows = F.im2col(arrays.channels_first(X, "NHWC"), (PH, PW), step).reshape(-1, C, PH * PW)
    return np.moveaxis(windows, 1, 2).astype(X.dtype, copy=False), res.reshape(-1, C), index, res


def _pooled(X: np.ndarray, pool_size: tuple[int, int], step: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest pixels (N, OH, OW, C) and their places in their windows (N*OH*OW, C)."""
    res, cells = F.max_pool2d_with_indices(X, pool_size, step, layout="NHWC")
    corners = _corners(res.shape, step, step, pool_size[1])
    index = cells + cells // X.shape[2] * (pool_size[1] - X.shape[2]) - corners
    return res, index.reshape(-1, X.shape[3])


def _corners(shape: tuple[int, ...], vertical: int, horizontal: int, width: int) -> np.ndarray:
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


def relu(t: np.ndarray) -> np.ndarray:
    """max(t, 0)."""
    return F.relu(t)


def drelu(t: np.ndarray) -> np.ndarray:
    """1 where t > 0, else 0: the derivative of `relu`.

    Example:
        >>> drelu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 1.])
    """
    return F.relu_backward(np.ones_like(t), t)


def softmax(X: np.ndarray) -> np.ndarray:
    """exp(X) / sum(exp(X)) for each row, without overflow; X stays as it is."""
    return F.softmax(X)


def entrop_loss(y_p: np.ndarray, y_label: np.ndarray) -> float:
    """The mean cross-entropy of probabilities with one-hot rows, both (N, K); 1e-5 is added to the probabilities.

    Example:
        >>> round(entrop_loss(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])), 5)
        0.69313
    """
    return float(np.mean(np.sum(-y_label * np.log(y_p + 1e-5), axis=1)))


def accuracy(y_predict: np.ndarray, y_t: np.ndarray) -> float:
    """The share, 0 to 1, of rows (N, K) whose largest element is where that of the one-hot row is.

    Example:
        >>> accuracy(np.array([[0.9, 0.1], [0.8, 0.2]]), np.eye(2))
        0.5
    """
    return float(np.mean(y_predict.argmax(axis=1) == y_t.argmax(axis=1)))


def gradient_clip(dw: np.ndarray, min: float, max: float) -> np.ndarray:
    """A copy of dw with every element limited to min..max; `fastconv.optim.clip_grad_value` works in place.

    Example:
        >>> gradient_clip(np.array([1.0, -20.0, 30.0]), -10, 10)
        array([  1., -10.,  10.])
    """
    return np.clip(dw, min, max)


def forward(X: np.ndarray, Paramters: Sequence[np.ndarray]) -> tuple[list[Cash], np.ndarray]:
    """Twice convolution, ReLU and 2x2 max-pooling, then two dense layers, ReLU between them, and softmax.

    Args:
        X: (N, H, W, C).
        Paramters: the filters (F, KH, KW, C) of both convolutions and the weights (IN, OUT) of both dense layers.

    Returns:
        What each of the six layers keeps, and the probabilities (N, OUT).

    Raises:
        ShapeError: sizes do not fit.
        TypeError: an argument is not a numeric array.

    Example:
        >>> weights = [np.zeros(shape) for shape in ((5, 3, 3, 1), (4, 3, 3, 5), (100, 50), (50, 10))]
        >>> cashes, probabilities = forward(np.zeros((300, 28, 28, 1)), weights)
        >>> [cash["a"].shape[1:] for cash in cashes]
        [(26, 26, 5), (13, 13, 5), (11, 11, 4), (5, 5, 4), (50,), (10,)]
    """
    filter1, filter2, w3, w4 = Paramters
    conv1, pool1 = _convolved_and_pooled(X, X, filter1)
    conv2, pool2 = _convolved_and_pooled(pool1["z"], pool1["a"], filter2)
    flat = flatten(pool2["a"])
    hidden = F.linear(flat, w3.T)
    cash3 = {"z_p": flat, "a_p": flat, "z": hidden, "a": relu(hidden), "w": w3.copy()}
    logits = F.linear(cash3["a"], w4.T)
    cash4 = {"z_p": hidden, "a_p": cash3["a"], "z": logits, "a": softmax(logits), "w": w4.copy()}
    return [conv1, pool1, conv2, pool2, cash3, cash4], cash4["a"]


def _convolved_and_pooled(z_p: np.ndarray, a_p: np.ndarray, filter: np.ndarray) -> tuple[Cash, Cash]:
    z = F.conv2d(a_p, filter, layout="NHWC")
    a = relu(z)
    pooled, index = _pooled(a, (2, 2), 2)
    conv = {"z_p": z_p, "a_p": a_p, "z": z, "a": a, "w": filter.copy()}
    return conv, {"z_p": z, "a_p": a, "z": pooled, "a": pooled, "w": (2, 2), "os": pooled.shape, "index": index}


def full_backprop(delta: np.ndarray, cash: Cash) -> dict[str, np.ndarray]:
    """The gradients of a dense layer: `dw` (IN, OUT), `db` (OUT,), and `delta_pre` of z_p (N, IN).

    Args:
        delta: the gradient of z, (N, OUT); of the sum of the cross-entropies it is `softmax(z) - y_label`.
        cash: `a_p`, `z_p` and `w`.

    Example:
        >>> cash = {"a_p": np.array([[0.0, 2.0]]), "z_p": np.array([[-1.0, 2.0]]), "w": np.ones((2, 1))}
        >>> {name: array.tolist() for name, array in full_backprop(np.array([[3.0]]), cash).items()}
        {'dw': [[0.0], [6.0]], 'db': [3.0], 'delta_pre': [[0.0, 3.0]]}
    """
    grad_a, dw, db = F.linear_backward(delta, cash["a_p"], cash["w"].T)
    return {"dw": dw.T, "db": db, "delta_pre": F.relu_backward(grad_a, cash["z_p"])}  # type: ignore


def upsample(
    delta: np.ndarray, pool_size: Int2, target_shape: tuple[int, ...], index: np.ndarray, step: Int2 | None = None
) -> np.ndarray:
    """The gradient of max-pooling: each value goes to the pixel that was the largest of its window.

    Args:
        delta: (N, OH, OW, C).
        pool_size: (PH, PW).
        target_shape: (N, H, W, C) of the images.
        index: (N*OH*OW, C), from `img2col_maxpool`.
        step: pixels between windows; None is `pool_size`.

    Returns:
        (N, H, W, C); where windows overlap, the sum.

    Raises:
        ShapeError: sizes do not fit.
        ValueError: an index is not in its window.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> upsample(np.array([[[[7.0]]]]), (2, 2), (1, 2, 2, 1), np.array([[3]]))[0, :, :, 0]
        array([[0., 0.],
               [0., 7.]])
    """
    where = "upsample"
    PH, PW = pair(where, "pool_size", pool_size, 1)
    vertical, horizontal = (PH, PW) if step is None else pair(where, "step", step, 1)
    N, H, W, C = sizes(where, "target_shape", target_shape, (4,))
    if arrays.numeric(where, "delta", delta).ndim != 4:
        raise ShapeError(f"{where}: delta must have 4 dimensions, got shape {delta.shape}")
    arrays.same_shape(where, "index", arrays.numeric(where, "index", index), (delta[..., 0].size, C))
    if index.size and not (0 <= index.min() and index.max() < PH * PW):
        raise ValueError(f"{where}: index must be from 0 to {PH * PW - 1}, got {index.min()} to {index.max()}")
    if (delta.shape[1] - 1) * vertical + PH > H or (delta.shape[2] - 1) * horizontal + PW > W:
        raise ShapeError(f"{where}: delta of shape {delta.shape} has windows outside of target_shape {target_shape}")
    cells = index + index // PW * (W - PW)
    corners = _corners(delta.shape, vertical, horizontal, W)
    return F.max_pool2d_backward(delta, cells.reshape(delta.shape) + corners, (N, H, W, C), layout="NHWC")


def pool_backprop(delta_pool: np.ndarray, cash: Cash, flattened: bool = True) -> np.ndarray:
    """The gradient of z_p, (N, H, W, C), the pre-activation whose ReLU was pooled.

    Args:
        delta_pool: the gradient of the pooled images, (N, OH, OW, C), or as `flatten` makes them, (N, C*OH*OW).
        cash: `z_p`, `w` (the size of the window), `index`, `os` (the shape of the pooled images) if flattened; `step`
            where it is not the size of the window.
        flattened: whether `delta_pool` is.
    """
    delta = conv_flatten(delta_pool, cash["os"]) if flattened else delta_pool
    grad_a = upsample(delta, cash["w"], cash["z_p"].shape, cash["index"], cash.get("step"))
    return F.relu_backward(grad_a, cash["z_p"])


def conv_backprop(delta: np.ndarray, cash: Cash) -> dict[str, np.ndarray]:
    """The gradients of a convolution: `dw` (F, KH, KW, C), summed over the batch, and `delta_pre` of a_p (N, H, W, C).

    Args:
        delta: the gradient of z, (N, OH, OW, F).
        cash: `a_p` and `w`; `step` where it is not 1.
    """
    step = integer("conv_backprop", "step", cash.get("step", 1), 1)
    needs = (True, True, False)
    grad_a, dw, _ = F.conv2d_backward(delta, cash["a_p"], cash["w"], step, layout="NHWC", needs=needs)
    return {"dw": dw, "delta_pre": grad_a}  # type: ignore[dict-item]
