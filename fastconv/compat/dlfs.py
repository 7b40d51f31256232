"""The layers of "Deep Learning from Scratch" and its SimpleConvNet, for images (N, C, H, W).

A layer's `forward` keeps what its `backward` needs, and `backward` leaves the gradients in `dW` and `db`. Results have
the dtype of the arguments. Parameters are saved as npz or safetensors, never pickled.

Source: names and behaviour of K. Saitoh, Deep Learning from Scratch (2016), chapters 5 to 7.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._arguments.scalars import number
from fastconv.errors import DataError
from fastconv.models import simple_convnet
from fastconv.nn.init import Rng, Shape, fans
from fastconv.training import evaluate
from fastconv.weights import load_weights, save_weights

CONV_PARAM: Mapping[str, int] = MappingProxyType({"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1})
# the variance of the weights times the number of a layer's inputs, which is all that the book's Xavier looks at
GAINS = {"relu": 2.0, "he": 2.0, "sigmoid": 1.0, "xavier": 1.0}


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


class Convolution:
    """The convolution of images with the kernels W (F, C, FH, FW), plus b (F,).

    Attributes:
        dW: the gradient of W after `backward`.
        db: the gradient of b.

    Example:
        >>> conv = Convolution(np.ones((2, 1, 3, 3)), np.zeros(2), pad=1)
        >>> conv.forward(np.ones((1, 1, 3, 3)))[0, 0]
        array([[4., 6., 4.],
               [6., 9., 6.],
               [4., 6., 4.]])
        >>> conv.backward(np.ones((1, 2, 3, 3))).shape, conv.db
        ((1, 1, 3, 3), array([9., 9.]))
    """

    def __init__(self, W: np.ndarray, b: np.ndarray, stride: int = 1, pad: int = 0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.dW: np.ndarray | None = None
        self.db: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The convolution (N, F, OH, OW)."""
        self.x = x
        return F.conv2d(x, self.W, self.b, self.stride, self.pad)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        dx, self.dW, self.db = F.conv2d_backward(dout, self.x, self.W, self.stride, self.pad)
        return dx  # type: ignore[return-value]


class Pooling:
    """Max-pooling; padding counts as -inf.

    Example:
        >>> pool = Pooling(2, 2, stride=2)
        >>> pool.forward(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """

    def __init__(self, pool_h: int, pool_w: int, stride: int = 1, pad: int = 0):
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The largest pixels (N, C, OH, OW)."""
        self.x = x
        out, self.arg_max = F.max_pool2d_with_indices(x, (self.pool_h, self.pool_w), self.stride, self.pad)
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        return F.max_pool2d_backward(dout, self.arg_max, self.x.shape)


class Relu:
    """max(x, 0).

    Example:
        >>> Relu().forward(np.array([-1.0, 2.0]))
        array([0., 2.])
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """max(x, 0)."""
        self.out = F.relu(x)
        return self.out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        return F.relu_backward(dout, self.out)


class Affine:
    """The product x @ W + b with W (IN, OUT) and b (OUT,); images x (N, C, H, W) are flattened.

    Attributes:
        dW: the gradient of W after `backward`.
        db: the gradient of b.

    Example:
        >>> Affine(np.ones((12, 2)), np.zeros(2)).forward(np.ones((1, 3, 2, 2)))
        array([[12., 12.]])
    """

    def __init__(self, W: np.ndarray, b: np.ndarray):
        self.W, self.b = W, b
        self.dW: np.ndarray | None = None
        self.db: np.ndarray | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The product (N, OUT)."""
        self.original_x_shape = x.shape
        self.x = x.reshape(len(x), math.prod(x.shape[1:]))
        return F.linear(self.x, self.W.T, self.b)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """The gradient of x."""
        dx, dW, self.db = F.linear_backward(dout, self.x, self.W.T)
        self.dW = dW.T  # type: ignore[union-attr]
        return dx.reshape(self.original_x_shape)  # type: ignore[union-attr]


class SoftmaxWithLoss:
    """The mean cross-entropy of softmax(x) with t: class ids (N,) or one-hot rows (N, K).

    Attributes:
        loss: what `forward` returned.
        y: the probabilities (N, K).

    Example:
        >>> last = SoftmaxWithLoss()
        >>> round(last.forward(np.zeros((1, 2)), np.array([1])), 4), last.backward()
        (0.6931, array([[ 0.5, -0.5]]))
    """

    def forward(self, x: np.ndarray, t: np.ndarray) -> float:
        """The loss."""
        self.t, self.y = t, F.softmax(x)
        self.loss, self._dx = F.cross_entropy(x, t)
        return self.loss

    def backward(self, dout: float = 1) -> np.ndarray:
        """The gradient of x, times `dout`."""
        return self._dx * dout


class SimpleConvNet:
    """Convolution, ReLU, 2x2 max-pooling, affine, ReLU, affine, softmax: `fastconv.models.simple_convnet`.

    Args:
        input_dim: (C, H, W).
        conv_param: `filter_num`, `filter_size`, `pad` and `stride` of the convolution.
        hidden_size: the size of the first affine layer.
        output_size: the number of classes.
        weight_init_std: the deviation of the weights; or `"relu"` or `"he"`, `"sigmoid"` or `"xavier"`: chosen from
            the number of each layer's inputs.
        dtype: of the parameters; float32 is twice as fast.

    Attributes:
        params: W1, b1, W2, b2, W3, b3, as views of the parameters: change them in place, as the book's optimisers do.
        model: the `Sequential` underneath.

    Raises:
        ValueError: a size is out of range, or there is no such initialisation.
        TypeError: a size is not an integer.

    Example:
        >>> network = SimpleConvNet()
        >>> {name: array.shape for name, array in network.params.items() if name[0] == "W"}
        {'W1': (30, 1, 5, 5), 'W2': (4320, 100), 'W3': (100, 10)}
    """

    def __init__(
        self, input_dim: tuple[int, int, int] = (1, 28, 28), conv_param: Mapping[str, int] = CONV_PARAM,
        hidden_size: int = 100, output_size: int = 10, weight_init_std: float | str = 0.01, *,
        dtype: DTypeLike = np.float64,
    ):  # fmt: skip
        self.model = simple_convnet(
            num_classes=output_size, in_channels=input_dim[0], image_size=input_dim[1:], hidden=hidden_size,
            filters=conv_param["filter_num"], kernel_size=conv_param["filter_size"], stride=conv_param["stride"],
            padding=conv_param["pad"], initialiser=_initialiser(weight_init_std), dtype=dtype,
        )  # fmt: skip
        self.params = self._named([parameter.value for parameter in self.model.parameters()])

    @staticmethod
    def _named(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The model's arrays by the book's names; affine weights are (IN, OUT) there, a transposed view."""
        named = dict(zip(("W1", "b1", "W2", "b2", "W3", "b3"), arrays))
        return named | {name: named[name].T for name in ("W2", "W3")}

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The logits (N, K) of images (N, C, H, W)."""
        return self.model(x)

    def loss(self, x: np.ndarray, t: np.ndarray) -> float:
        """The mean cross-entropy with t: class ids (N,) or one-hot rows."""
        return F.cross_entropy(self.predict(x), t)[0]

    def accuracy(self, x: np.ndarray, t: np.ndarray, batch_size: int = 100) -> float:
        """The share, 0 to 1, of all the images that are classified rightly."""
        return evaluate(self.model, x, t, batch_size)[1]

    def gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        """The gradients of `loss` by the names of `params`."""
        logits, backward = self.model.forward_from_data(x)
        self.model.zero_grad()
        backward(F.cross_entropy(logits, t)[1])
        return self._named([parameter.grad.copy() for parameter in self.model.parameters()])

    def save_params(self, file_name: str | os.PathLike[str] = "params.npz") -> None:
        """Write the parameters as npz or safetensors, whole or not at all; `x.pkl` becomes `x.npz`.

        Raises:
            ValueError: the name has another ending.
            OSError: the file cannot be written.
        """
        save_weights(_not_pickled(file_name), self.params)

    def load_params(self, file_name: str | os.PathLike[str] = "params.npz") -> None:
        """Read what `save_params` wrote under the same name; nothing is changed unless everything fits.

        Raises:
            DataError: the file is a pickle, which could run any code; or it is damaged, or of another network.
            OSError: the file cannot be read.
        """
        path = _not_pickled(file_name)
        if Path(file_name) != path and Path(file_name).exists() and not path.exists():
            raise DataError(f"{file_name}: is a pickle, which may run code when it is read; {path} was needed")
        found = load_weights(path)
        wanted, got = ({name: a.shape for name, a in arrays.items()} for arrays in (self.params, found))
        if wanted != got:
            raise DataError(f"{path}: must hold arrays of shapes {wanted}, got {got}")
        for name, array in self.params.items():
            array[...] = found[name]


def _not_pickled(file_name: str | os.PathLike[str]) -> Path:
    path = Path(file_name)
    return path.with_suffix(".npz") if path.suffix == ".pkl" else path


def _initialiser(weight_init_std: float | str) -> Callable[[Shape, Rng, DTypeLike], np.ndarray]:
    if isinstance(weight_init_std, str):
        if weight_init_std.lower() not in GAINS:
            raise ValueError(
                f"SimpleConvNet: weight_init_std must be one of {', '.join(GAINS)}, got {weight_init_std!r}"
            )
        gain = GAINS[weight_init_std.lower()]
    else:
        std = number("SimpleConvNet", "weight_init_std", weight_init_std, 0)

    def initialiser(shape: Shape, rng: Rng, dtype: DTypeLike) -> np.ndarray:
        scale = math.sqrt(gain / fans(shape)[0]) if isinstance(weight_init_std, str) else std
        # drawn in the order of the book's arrays, whose affine weights are (IN, OUT)
        affine = len(shape) == 2
        drawn = np.random.standard_normal(shape[::-1] if affine else shape)  # noqa: NPY002
        return (scale * (drawn.T if affine else drawn)).astype(dtype)

    return initialiser
