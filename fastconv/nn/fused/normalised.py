"""A convolution with the batch normalisation and the activation behind it, in as few passes over memory as that takes.

In training: the sums, their moments, and one pass that normalises, adds what comes from elsewhere, and clamps. Back:
one pass for the sums of the normalisation's gradient, in which the gradient goes through the activation's gate, and one
for the gradient itself. In inference the normalisation is taken into the weights, as `folded` does it once for all.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments.arrays import empty
from fastconv._engine.batch_norm import gated_gradients, planes, statistics
from fastconv._runtime.recording import after, before, not_recorded
from fastconv.functional.conv import convolution
from fastconv.kernels.batch_norm import OF_RESULT, OF_SUM, OPEN, Gate, scale, scaling
from fastconv.kernels.folding import fold, unchanged
from fastconv.nn.activation import ReLU, ReLU6
from fastconv.nn.base import Backward, Layer, gradient_of
from fastconv.nn.conv import Conv2d
from fastconv.nn.fused.chain import chained
from fastconv.nn.fused.run import Run
from fastconv.nn.norm import BatchNorm2d

MOST_SHAPES = 64  # that are remembered
BOUNDS: dict[type | None, tuple[float, float]] = {None: (-np.inf, np.inf), ReLU: (0, np.inf), ReLU6: (0, 6)}


def bounds_of(activation: Layer | None, dtype: np.dtype) -> np.ndarray:
    """Between which an activation leaves its argument as it is, and to which it clamps all else: (2,)."""
    return np.array(BOUNDS[type(activation) if activation else None], dtype)


class Added(NamedTuple):
    """What a residual connection adds: images (N, C, P), and the (3, C) numbers that normalise them."""

    images: np.ndarray
    numbers: np.ndarray


class Moments(NamedTuple):
    """The convolution's results for a batch, and how they are normalised.

    Attributes:
        x: the input.
        sums: (N, C, H, W).
        mean: (C,) float64.
        var: (C,) float64.
        numbers: (3, C): centres, factors and shifts.
        weight: the parameter, (C,) float64.
    """

    x: np.ndarray
    sums: np.ndarray
    mean: np.ndarray
    var: np.ndarray
    numbers: np.ndarray
    weight: np.ndarray


class Normalised(Run):
    """A `Conv2d` perhaps, a `BatchNorm2d`, and perhaps a `ReLU` or `ReLU6`.

    Attributes:
        layers: the layers, in order.
        conv: the convolution, or None.
        norm: the normalisation.
        activation: the activation, or None.
    """

    def __init__(self, conv: Conv2d | None, norm: BatchNorm2d, activation: Layer | None = None):
        self.conv, self.norm, self.activation = conv, norm, activation
        self.layers = tuple(layer for layer in (conv, norm, activation) if layer is not None)
        self._rectified = type(activation) is ReLU
        self._folded: Folded | None = None
        # arrays of the layers, and whether images of a shape and dtype are computed together with these
        self._noted: tuple[list[np.ndarray], dict[tuple[tuple[int, ...], np.dtype], bool]] = [], {}

    def fits(self, shape: tuple[int, ...], dtype: np.dtype) -> bool:
        """Whether images are computed together: of the parameters' dtype, and nothing about them is an error."""
        arrays, (known, found) = self._arrays(), self._noted
        if not (len(arrays) == len(known) and all(map(operator.is_, arrays, known))):
            found = {}
            self._noted = arrays, found
        key = shape, dtype
        if key not in found:
            if len(found) >= MOST_SHAPES:
                found.clear()
            found[key] = self._would_fit(shape, dtype, arrays)
        return found[key]

    def described(self, shape: tuple[int, ...], dtype: np.dtype) -> str:
        """How images of a shape are computed, for `summary`."""
        return "joined in two passes, in inference in one" if self.fits(shape, dtype) else "each for itself"

    def _arrays(self) -> list[np.ndarray]:
        norm, conv = self.norm, self.conv
        own = [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return [p.value for p in (own if conv is None else [*own, conv.weight, conv.bias]) if p is not None]

    def _would_fit(self, shape: tuple[int, ...], dtype: np.dtype, arrays: list[np.ndarray]) -> bool:
        if len(shape) != 4 or 0 in shape or dtype not in (np.float32, np.float64):
            return False
        if any(a.dtype != dtype or not (a.dtype.isnative and a.flags.carray) for a in arrays):
            return False
        try:
            N, C, H, W = self.norm.output_shape(shape if self.conv is None else self.conv.output_shape(shape))
        except ValueError:
            return False
        return N * H * W > 1 and all(a.shape == (C,) for a in arrays if a.ndim != 4)

    def moments(self, x: np.ndarray) -> Moments:
        """Convolve a batch, and take its statistics, towards which the running ones move."""
        norm, conv = self.norm, self.conv
        sums = x if conv is None else conv(x)
        C = len(norm.running_mean.value)
        count = sums.size // C
        numbers, weight, bias = np.empty((3, C), sums.dtype), np.ones(C), np.zeros(C)
        mean, var = statistics(sums, norm.running_mean.value, norm.running_var.value, True)
        after(lambda: _quietly(norm.follow, mean, var, count))
        before(lambda: self._affine(weight, bias))
        with np.errstate(all="ignore"):
            scaling(mean, var, weight, bias, norm.eps, numbers)
        return Moments(x, sums, mean, var, numbers, weight)

    def _affine(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Fill arrays (C,) float64 with the parameters, where they are."""
        for parameter, array in ((self.norm.weight, weight), (self.norm.bias, bias)):
            if parameter is not None:
                array[...] = parameter.value

    def result(self, taken: Moments, activation: Layer | None, side: Added | None = None) -> np.ndarray:
        """The sums normalised, with `side` added, and clamped by an activation."""
        y = empty("Sequential", taken.sums.shape, taken.sums.dtype)
        sums = planes(taken.sums)
        added, numbers = (sums[:0], taken.numbers) if side is None else side
        with np.errstate(all="ignore"):
            scale(sums, taken.numbers, added, numbers, bounds_of(activation, y.dtype), planes(y))
        return y

    def gradient(self, grad_y: np.ndarray, taken: Moments, gate: Gate, need_x: bool = True) -> np.ndarray | None:
        """Add to the parameters' gradients; the gradient of the input where it is needed."""
        norm, conv = self.norm, self.conv
        needs = (
            need_x or conv is not None,
            norm.weight is not None and norm.weight.trainable,
            norm.bias is not None and norm.bias.trainable,
        )
        with np.errstate(all="ignore"):
            grad, *others = gated_gradients(
                "Sequential", grad_y, taken.sums, taken.mean, taken.var, taken.weight, True, norm.eps, needs, gate
            )
        after(lambda: _quietly(self._accumulate, *others))
        return grad if conv is None else conv.backward(grad, taken.x, need_x)

    def _accumulate(self, *gradients: np.ndarray) -> None:
        """Add to the parameters' gradients, which are those of the weight and of the bias."""
        for parameter, gradient in zip((self.norm.weight, self.norm.bias), gradients):
            if parameter is not None and parameter.trainable:
                parameter.accumulate(gradient.astype(parameter.value.dtype))

    def forward(self, x: np.ndarray, need_x: bool = True) -> tuple[np.ndarray, Backward]:
        """The last layer's result, and the gradient; of the layers' parameters alone unless `need_x`."""
        if not (type(x) is np.ndarray and self.fits(x.shape, x.dtype)):
            return chained(self.layers, x, need_x)
        taken = self.moments(x)
        y = self.result(taken, self.activation)

        def backward(grad_y: np.ndarray) -> np.ndarray:
            grad_y = gradient_of(self.layers[-1], grad_y, taken.sums.shape)
            bounds = bounds_of(self.activation, x.dtype)
            gate = Gate(OF_SUM if self.activation else OPEN, taken.numbers, planes(taken.sums)[:0], bounds)
            grad_y = np.ascontiguousarray(grad_y, x.dtype)
            return self.gradient(grad_y, taken, gate, need_x)  # type: ignore[return-value]

        return y, backward

    def folded(self, x: np.ndarray) -> np.ndarray | None:
        """The normalised results for a batch, by weights into which the normalisation is taken, clamped by a ReLU.

        None: a folded weight is not finite, or there are none.
        """
        if self.conv is None:
            return None
        found = self._folded
        if found is None or not found.holds(self.conv, self.norm):
            not_recorded()
            found = self._folded = Folded(self.conv, self.norm)
        if not found.finite:
            return None
        return convolution(x, found.weight, found.bias, *self.conv.options, relu=self._rectified)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The last layer's result."""
        y = self.folded(x) if type(x) is np.ndarray and self.fits(x.shape, x.dtype) else None
        if y is None:
            for layer in self.layers:
                x = layer(x)
            return x
        return y if self.activation is None or self._rectified else self.activation(y)


def _quietly(function: Callable[..., None], *args: Any) -> None:
    """As `batch_norm2d` does it: without warnings of numbers that are infinite in float32."""
    with np.errstate(all="ignore"):
        function(*args)


class Folded:
    """A convolution's weights and bias with a normalisation taken in, and what they were made of.

    That is compared at each call, which takes a tenth of the time to make them anew; an optimiser or a user may have
    changed it in place.

    Attributes:
        weight: as for the convolution.
        bias: (C,).
        finite: whether all of it is finite.
    """

    def __init__(self, conv: Conv2d, norm: BatchNorm2d):
        weight = conv.weight.value
        C, dtype = len(weight), weight.dtype
        self._missing = np.zeros(C, dtype), np.ones(C, dtype)  # the bias and the shift, and the factor, where not given
        self.weight, self.bias = np.empty_like(weight), np.empty(C, dtype)
        self._kept_weight, self._kept, self._eps = (
            weight.reshape(C, -1).copy(),
            np.stack(self._numbers(conv, norm)),
            norm.eps,
        )
        with np.errstate(all="ignore"):
            self.finite = fold(self._kept_weight, self._kept, self._eps, self.weight.reshape(C, -1), self.bias)

    def _numbers(self, conv: Conv2d, norm: BatchNorm2d) -> tuple[np.ndarray, ...]:
        zeros, ones = self._missing
        bias, factor, shift = (
            missing if parameter is None else parameter.value
            for parameter, missing in ((conv.bias, zeros), (norm.weight, ones), (norm.bias, zeros))
        )
        return bias, norm.running_mean.value, norm.running_var.value, factor, shift

    def holds(self, conv: Conv2d, norm: BatchNorm2d) -> bool:
        """Whether it is what would be made of the layers now."""
        weight, C = conv.weight.value, len(self._kept_weight)
        if self._eps != norm.eps or weight.shape != self.weight.shape or weight.dtype != self.weight.dtype:
            return False
        return unchanged(weight.reshape(C, -1), self._numbers(conv, norm), self._kept_weight, self._kept)


def gate_of(activation: Layer | None, taken: Moments, y: np.ndarray) -> Gate:
    """The gate of an activation whose result is kept."""
    return Gate(OF_RESULT if activation else OPEN, taken.numbers, planes(y), bounds_of(activation, y.dtype))
