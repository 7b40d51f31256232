"""Normalising layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from fastconv import functional as F
from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer
from fastconv.errors import ShapeError
from fastconv.functional.batch_norm import update_running
from fastconv.nn.base import Backward, Buffer, Layer, Parameter, check_images


class BatchNorm2d(Layer):
    """Every channel with mean 0 and variance 1, then times a learnt weight, plus a learnt bias.

    In training, `forward(x)`, mean and variance are the batch's own, and the running ones move towards them; in
    inference, `layer(x)`, they are the running ones. See `fastconv.batch_norm2d`.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of each batch in the running statistics; None makes them the mean over all batches.
        affine: whether there are a weight, which starts at one, and a bias, which starts at zero.
        dtype: float32 or float64.

    Attributes:
        weight: Parameter (C,) or None.
        bias: Parameter (C,) or None.
        running_mean: Buffer (C,).
        running_var: Buffer (C,).
        num_batches_tracked: Buffer (), int64.

    Example:
        >>> layer, x = BatchNorm2d(1, dtype=np.float64), np.array([[[[1.0, 3.0]]]])
        >>> layer.forward(x)[0].round(3)
        array([[[[-1.,  1.]]]])
        >>> layer.running_mean.value
        array([0.2])

    Source: S. Ioffe and C. Szegedy, Batch normalization (2015); names of PyTorch's `BatchNorm2d`.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, *,
        dtype: DTypeLike = np.float32,
    ):  # fmt: skip
        C = integer("BatchNorm2d", "num_features", num_features, 1)
        self.eps = number("BatchNorm2d", "eps", eps, 0)
        self.momentum = momentum if momentum is None else number("BatchNorm2d", "momentum", momentum, 0, 1)
        self.weight = Parameter(np.ones(C, dtype), "weight") if affine else None
        self.bias = Parameter(np.zeros(C, dtype), "bias") if affine else None
        self.running_mean = Buffer(np.zeros(C, dtype), "running_mean")
        self.running_var = Buffer(np.ones(C, dtype), "running_var")
        self.num_batches_tracked = Buffer(np.zeros((), np.int64), "num_batches_tracked")

    def _affine(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        weight, bias = (None if p is None else p.value for p in (self.weight, self.bias))
        return weight, bias

    def _share(self) -> float:
        """The share of the next batch in the running statistics."""
        return 1 / (int(self.num_batches_tracked.value) + 1) if self.momentum is None else self.momentum

    def follow(self, mean: np.ndarray, var: np.ndarray, count: int) -> None:
        """Move the running statistics towards those of a batch of `count` values a channel, as `forward` does."""
        update_running(self.running_mean.value, self.running_var.value, mean, var, count, self._share())
        self.num_batches_tracked.value += 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The batch (N, C, H, W) normalised by the running statistics."""
        return F.batch_norm2d(x, self.running_mean.value, self.running_var.value, *self._affine(), eps=self.eps)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The batch normalised by its own statistics, and the gradient."""
        running, momentum = (self.running_mean.value, self.running_var.value), self._share()
        y = F.batch_norm2d(x, *running, *self._affine(), training=True, momentum=momentum, eps=self.eps)
        self.num_batches_tracked.value += 1 if x.size else 0  # an empty batch has no statistics

        def backward(grad_y: np.ndarray) -> np.ndarray:
            weight, bias = self.weight, self.bias
            needs = (True, weight is not None and weight.trainable, bias is not None and bias.trainable)
            grad_x, grad_weight, grad_bias = F.batch_norm2d_backward(
                grad_y, x, None, None, self._affine()[0], training=True, eps=self.eps, needs=needs
            )
            for parameter, gradient in ((weight, grad_weight), (bias, grad_bias)):
                if parameter is not None:
                    parameter.accumulate(gradient)
            return grad_x  # type: ignore[return-value]

        return y, backward

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the input."""
        C = len(self.running_mean.value)
        if len(input_shape) < 3 or input_shape[-3] != C:
            raise ShapeError(f"BatchNorm2d: takes {C} channels, got an input of shape {tuple(input_shape)}")
        check_images(self, input_shape)
        return tuple(input_shape)

    def __repr__(self) -> str:
        return f"BatchNorm2d({len(self.running_mean.value)})"


class LocalResponseNorm(Layer):
    """Every pixel divided by a power of the mean square of its neighbours in other channels.

    Args:
        size: as for `fastconv.local_response_norm`, which explains the arguments.
        alpha: as there.
        beta: as there.
        k: as there.

    Example:
        >>> LocalResponseNorm(5)(np.zeros((2, 6, 14, 14))).shape
        (2, 6, 14, 14)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        where = "LocalResponseNorm"
        alpha, beta, k = (number(where, name, n) for name, n in (("alpha", alpha), ("beta", beta), ("k", k)))
        self.options = (integer(where, "size", size, 1), alpha, beta, k)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The normalised batch."""
        return F.local_response_norm(x, *self.options)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The normalised batch, and its gradient."""
        return self(x), lambda grad_y: F.local_response_norm_backward(grad_y, x, *self.options)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the input."""
        check_images(self, input_shape)
        return tuple(input_shape)

    def __repr__(self) -> str:
        size, alpha, beta, k = self.options
        return f"LocalResponseNorm({size}, alpha={alpha}, beta={beta}, k={k})"
