"""What the book's networks share: parameters by name, layers, the way forward and back, files."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._arguments.sizes import integer, pair
from fastconv._geometry.conv import window_geometry
from fastconv.compat.blocks import Passed, convolution, product
from fastconv.compat.dlfs.common.gradient import numerical_gradient
from fastconv.compat.dlfs.common.layers import (
    Affine,
    BatchNormalization,
    Convolution,
    Dropout,
    Pooling,
    Relu,
    SoftmaxWithLoss,
)
from fastconv.compat.pickles import load_pickle, save_pickle
from fastconv.errors import DataError, ShapeError
from fastconv.nn import Flatten, Layer, MaxPool2d, ReLU, Sequential
from fastconv.weights import load_weights, save_weights

ConvParam = Mapping[str, int]


class Network:
    """The base of the book's convolutional networks.

    As long as nobody has looked at `layers`, a batch goes through a `Sequential` that shares the arrays of `params`;
    then through the layers one by one, which keep what a reader of the book expects to find in them.

    Attributes:
        params: the arrays by the book's names; an entry that is replaced is used from then on.
        last_layer: the loss.
    """

    params: dict[str, np.ndarray]

    def _built(self, layers: Any, order: Sequence[Any]) -> None:
        """Take the layers, as the book holds them, and all of them in their order."""
        self._layers, self._order = layers, list(order)
        self._learnt = [layer for layer in self._order if isinstance(layer, Convolution | Affine)]
        self._drops = any(isinstance(layer, Dropout) for layer in self._order)
        self.last_layer = SoftmaxWithLoss()
        self._looked = False
        self._bound: dict[tuple[int, str], np.ndarray] = {}
        self._sequential: Sequential | None = None
        self._bind()

    def _bind(self) -> None:
        """Hand entries of `params` that are new to their layers."""
        for number, layer in enumerate(self._learnt, 1):
            for part in ("W", "b"):
                value = self.params[f"{part}{number}"]
                if value is not self._bound.get((number, part)):
                    self._bound[number, part], self._sequential = value, None
                    setattr(layer, part, value)

    @property
    def layers(self) -> Any:
        """The layers; from the first look on they are used one by one."""
        self._bind()
        self._looked = True
        return self._layers

    @property
    def model(self) -> Sequential:
        """A `Sequential` of the same layers, which shares the arrays of `params` that lie as these do at first."""
        self._bind()
        return sequential(self._order)

    def _together(self) -> Sequential | None:
        """A model that computes the same, if all its arrays are those of `params` and nobody has looked inside."""
        self._bind()
        if self._looked:
            return None
        if self._sequential is None and all(map(_lies_as_the_model, self._learnt)):
            self._sequential = sequential(self._order)
        return self._sequential

    def _as_parameters(self, x: np.ndarray) -> np.ndarray:
        """x in the parameters' dtype where the layers would compute in that: they run together in one dtype alone."""
        dtype = self._learnt[0].W.dtype
        mixed = isinstance(x, np.ndarray) and x.dtype != dtype and x.dtype.kind in "iuf"
        return x.astype(dtype) if mixed and np.result_type(x.dtype, dtype) == dtype else x

    def predict(self, x: np.ndarray, train_flg: bool = False) -> np.ndarray:
        """The logits (N, K) of images (N, C, H, W)."""
        model = self._together()
        if model is not None:
            x = self._as_parameters(x)
            # inference is the faster way, and nothing but dropout tells the two apart
            return model.forward(x)[0] if train_flg and self._drops else model(x)
        for layer in self._in_order():
            x = layer.forward(x, train_flg) if isinstance(layer, Dropout | BatchNormalization) else layer.forward(x)
        return x

    def _in_order(self) -> list[Any]:
        """The layers as they are now: a reader may have put others in."""
        return list(self._layers.values() if isinstance(self._layers, dict) else self._layers)

    def loss(self, x: np.ndarray, t: np.ndarray) -> float:
        """The mean cross-entropy with t: class ids or one-hot rows; with dropout, as in training."""
        return self.last_layer.forward(self.predict(x, True), t)

    def accuracy(self, x: np.ndarray, t: np.ndarray, batch_size: int = 100) -> float:
        """The share, 0 to 1, of all the images that are classified rightly; the book's leaves an uneven batch out."""
        size, ids = integer("accuracy", "batch_size", batch_size, 1), t if t.ndim == 1 else t.argmax(axis=1)
        if len(ids) != len(x):
            raise ShapeError(f"accuracy: t must tell of {len(x)} images, got shape {t.shape}")
        parts = (slice(first, first + size) for first in range(0, len(x), size))
        right = sum(int(np.sum(self.predict(x[part]).argmax(axis=1) == ids[part])) for part in parts)
        return right / len(x) if len(x) else 0.0

    def gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        """The gradients of `loss` by the names of `params`."""
        model = self._together()
        if model is None:
            self.loss(x, t)
            grad = self.last_layer.backward(1)
            for layer in reversed(self._in_order()):
                grad = layer.backward(grad)
        else:
            logits, backward = model.forward_from_data(self._as_parameters(x))
            self.last_layer.forward(logits, t)
            model.zero_grad()
            backward(self.last_layer.backward(1))
            # as layers without a bias have no parameter of that kind, they come in pairs here
            found = iter(parameter.grad.copy() for parameter in model.parameters())
            for layer in self._learnt:
                weight, layer.db = next(found), next(found)
                layer.dW = weight.T if isinstance(layer, Affine) else weight
        numbered = enumerate(self._learnt, 1)
        return {f"{part}{n}": getattr(layer, f"d{part}") for n, layer in numbered for part in ("W", "b")}

    def numerical_gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        """The gradients of `loss` by central differences: two losses for each element of `params`."""
        return {name: numerical_gradient(lambda _: self.loss(x, t), array) for name, array in self.params.items()}

    def save_params(self, file_name: str | os.PathLike[str] = "params.pkl") -> None:
        """Write the parameters, whole or not at all: npz or safetensors, or, `.pkl`, what the book's scripts read.

        Raises:
            ValueError: the name has another ending.
            OSError: the file cannot be written.
        """
        (save_pickle if Path(file_name).suffix == ".pkl" else save_weights)(file_name, self.params)

    def load_params(self, file_name: str | os.PathLike[str] = "params.pkl") -> None:
        """Read what `save_params` or the book's scripts wrote; nothing is changed unless everything fits.

        Of a pickle, arrays in a dictionary are read and nothing else: it cannot run code.

        Raises:
            DataError: the file is damaged, or of another network, or holds something else.
            OSError: the file cannot be read.
        """
        found = (load_pickle if Path(file_name).suffix == ".pkl" else load_weights)(file_name)
        wanted, got = ({name: a.shape for name, a in arrays.items()} for arrays in (self.params, found))
        if wanted != got:
            raise DataError(f"{file_name}: must hold arrays of shapes {wanted}, got {got}")
        for name, array in self.params.items():
            array[...] = found[name]


def _lies_as_the_model(layer: Convolution | Affine) -> bool:
    W = layer.W.T if isinstance(layer, Affine) else layer.W
    arrays = (W, layer.b)
    return all(isinstance(a, np.ndarray) and a.flags.c_contiguous and a.dtype == W.dtype for a in arrays)


def sequential(layers: Sequence[Any]) -> Sequential:
    """The book's layers as those of `fastconv.nn`, whose arrays are the same where they lie in the same order."""
    return Sequential(*(one for layer in layers for one in _modern(layer)))


def _modern(layer: Any) -> list[Layer]:
    if isinstance(layer, Convolution):
        return [convolution(layer.W, layer.b if np.ndim(layer.b) else None, layer.stride, layer.pad)]
    if isinstance(layer, Affine):
        return [Flatten(), product(layer.W, layer.b if np.ndim(layer.b) else None)]
    if isinstance(layer, Pooling):
        return [MaxPool2d((layer.pool_h, layer.pool_w), layer.stride, layer.pad)]
    if isinstance(layer, Relu):
        return [ReLU()]
    if isinstance(layer, Dropout | BatchNormalization):
        inference = functools.partial(layer.forward, train_flg=False)
        return [Passed(type(layer).__name__, inference, layer.forward, layer.backward)]
    return [Passed(type(layer).__name__, layer.forward, layer.forward, layer.backward)]


def checked_param(where: str, name: str, conv_param: ConvParam) -> tuple[int, int, int, int]:
    """filter_num, filter_size, pad and stride of the book's dictionary."""
    keys = ("filter_num", "filter_size", "pad", "stride")
    if not isinstance(conv_param, Mapping) or any(key not in conv_param for key in keys):
        raise ValueError(f"{where}: {name} must have the keys {', '.join(keys)}, got {conv_param!r}")
    values = (integer(where, f"{name}[{key!r}]", conv_param[key], 0 if key == "pad" else 1) for key in keys)
    return tuple(values)  # type: ignore[return-value]


def pooled_size(
    where: str, image: tuple[int, int, int], filter_size: int, stride: int, pad: int, pool: bool
) -> tuple[int, int]:
    """The sizes of a plane after a convolution and, if `pool`, 2 x 2 max-pooling with stride 2."""
    g = window_geometry(where, image, pair(where, "filter_size", filter_size, 1), stride, pad, 1)
    sizes = (g.rows.out, g.columns.out)
    return (sizes[0] // 2, sizes[1] // 2) if pool else sizes
