"""The network's way back, layer by layer."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F
from fastconv._arguments import arrays
from fastconv._arguments.sizes import Int2, integer, pair, sizes
from fastconv.compat.nhwc.columns import conv_flatten, corners
from fastconv.compat.nhwc.network import Cash, PoolCash
from fastconv.errors import ShapeError


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
    places = cells.reshape(delta.shape) + corners(delta.shape, vertical, horizontal, W)
    return F.max_pool2d_backward(delta, places, (N, H, W, C), layout="NHWC")


def pool_backprop(delta_pool: np.ndarray, cash: Cash, flattened: bool = True) -> np.ndarray:
    """The gradient of z_p, (N, H, W, C), the pre-activation whose ReLU was pooled.

    Args:
        delta_pool: the gradient of the pooled images, (N, OH, OW, C), or as `flatten` makes them, (N, C*OH*OW).
        cash: `z_p`, `w` (the size of the window), `index`, `os` (the shape of the pooled images) if flattened; `step`
            where it is not the size of the window.
        flattened: whether `delta_pool` is.
    """
    delta = conv_flatten(delta_pool, cash["os"]) if flattened else delta_pool
    if isinstance(cash, PoolCash) and "index" not in cash and "step" not in cash and delta.shape == cash["os"]:
        z_p = arrays.channels_first(cash["z_p"], "NHWC")
        grad_a = F.max_pool2d_backward(arrays.channels_first(delta, "NHWC"), cash.cells, z_p.shape)
        return arrays.channels_as(F.relu_backward(grad_a, z_p), "NHWC")
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
    grad_z, a_p, w = (arrays.channels_first(array, "NHWC") for array in (delta, cash["a_p"], cash["w"]))
    grad_a, dw, _ = F.conv2d_backward(grad_z, a_p, w, step, needs=needs)
    dw, grad_a = (arrays.channels_as(array, "NHWC") for array in (dw, grad_a))  # type: ignore[arg-type]
    return {"dw": np.ascontiguousarray(dw), "delta_pre": grad_a}


def conv_backprop2(delta: np.ndarray, cash: Cash, converted: bool = True) -> dict[str, np.ndarray]:
    """The gradient of a convolution's filters alone, `dw` (F, KH, KW, C), of filters of any size.

    Args:
        delta: the gradient of z, (N, OH, OW, F).
        cash: `w`, and `a_p` or the windows `c_a_p`; `step` where it is not 1.
        converted: not used.
    """
    w = cash["w"]
    if "a_p" not in cash:
        product = F.linear(cash["c_a_p"].T, delta.reshape(-1, len(w)).T)  # (C*KH*KW, F)
        return {"dw": arrays.channels_as(product.T.reshape(len(w), w.shape[3], *w.shape[1:3]), "NHWC")}
    step = integer("conv_backprop2", "step", cash.get("step", 1), 1)
    _, dw, _ = F.conv2d_backward(delta, cash["a_p"], w, step, layout="NHWC", needs=(False, True, False))
    return {"dw": dw}  # type: ignore[dict-item]
