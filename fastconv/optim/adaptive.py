"""Optimisers that choose the step of each element from the gradients that it has seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastconv import reference
from fastconv._arguments.scalars import number
from fastconv.kernels import updates
from fastconv.nn.base import Parameter
from fastconv.optim.sgd import Optimizer


class Adagrad(Optimizer):
    """Adagrad: total += g * g; value -= rate * g / (sqrt(total) + eps), rate = lr / (1 + (step - 1) * lr_decay).

    Args:
        parameters: `model.parameters()`.
        lr: learning rate, at least 0.
        lr_decay: how fast the rate falls with the steps, at least 0.
        weight_decay: this times the value is added to each gradient.
        initial_accumulator_value: what `total` starts from, at least 0.
        eps: added to the root.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> p = Parameter(np.array([1.0]))
        >>> p.accumulate(np.array([0.5]))
        >>> Adagrad([p], lr=0.1).step()
        >>> p.value.round(6)
        array([0.9])

    Source: J. Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization (2011),
    figure 1 with the diagonal matrix; formula and defaults are PyTorch's.
    """

    slot_names = ("total",)
    rule = updates.ADAGRAD

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 0.01, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10,
    ):  # fmt: skip
        super().__init__(parameters, lr)
        self.lr_decay = number("Adagrad", "lr_decay", lr_decay, 0)
        self.weight_decay = number("Adagrad", "weight_decay", weight_decay, 0)
        self.eps = number("Adagrad", "eps", eps, 0)
        start = number("Adagrad", "initial_accumulator_value", initial_accumulator_value, 0)
        for total in self.slots["total"]:
            total.fill(start)

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        (total,), (rate, *_) = slots, self._numbers(lr)
        grad = _decayed(parameter, self.weight_decay)
        total += grad * grad
        parameter.value -= rate * _quotient(grad, np.sqrt(total) + self.eps)

    def _numbers(self, lr: float) -> tuple[float, ...]:
        return lr / (1 + (self.steps - 1) * self.lr_decay), self.eps, self.weight_decay


class RMSprop(Optimizer):
    """RMSprop: steps along the gradient over the root of the running mean of its squares.

    square = alpha * square + (1 - alpha) * g * g; velocity = momentum * velocity + g / (sqrt(square) + eps);
    value -= lr * velocity.

    Args:
        parameters: `model.parameters()`.
        lr: learning rate, at least 0.
        alpha: the share of the running mean that is kept, 0 to below 1.
        eps: added to the root.
        weight_decay: this times the value is added to each gradient.
        momentum: the share of the last step that is kept, 0 to below 1.
        centered: divide by the running standard deviation instead: the mean of the gradients, squared, is subtracted
            under the root.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> p = Parameter(np.array([1.0]))
        >>> p.accumulate(np.array([0.5]))
        >>> RMSprop([p], lr=0.01).step()
        >>> p.value.round(6)
        array([0.9])

    Source: T. Tieleman and G. Hinton, lecture 6.5 of Neural networks for machine learning (2012); centred: A. Graves,
    Generating sequences with recurrent neural networks (2013), equations 38 to 41; formula and defaults are PyTorch's.
    """

    rule = updates.RMSPROP

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
    ):  # fmt: skip
        self.alpha = number("RMSprop", "alpha", alpha, 0, below=1)
        self.eps = number("RMSprop", "eps", eps, 0)
        self.weight_decay = number("RMSprop", "weight_decay", weight_decay, 0)
        self.momentum = number("RMSprop", "momentum", momentum, 0, below=1)
        self.centered = bool(centered)
        # only the arrays that these options need
        self.slot_names = ("square", *(["velocity"] if self.momentum else []), *(["mean"] if self.centered else []))
        super().__init__(parameters, lr)

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        kept = dict(zip(self.slot_names, slots))
        square, grad = kept["square"], _decayed(parameter, self.weight_decay)
        square *= self.alpha
        square += (1 - self.alpha) * grad * grad
        variance = square
        if self.centered:
            mean = kept["mean"]
            mean += (1 - self.alpha) * (grad - mean)
            variance = np.maximum(square - mean * mean, 0)  # rounding may take it below
        change = _quotient(grad, np.sqrt(variance) + self.eps)
        if self.momentum:
            velocity = kept["velocity"]
            velocity *= self.momentum
            velocity += change
            change = velocity
        parameter.value -= lr * change

    def _numbers(self, lr: float) -> tuple[float, ...]:
        centered = float(self.centered)
        return lr, self.alpha, 1 - self.alpha, self.eps, self.weight_decay, self.momentum, centered

    def _rule_slots(self) -> list[list[np.ndarray]]:
        square = self.slots["square"]  # stands for those that are not used
        velocity = self.slots["velocity"] if self.momentum else square
        return [square, velocity, self.slots["mean"] if self.centered else square]


class Adam(Optimizer):
    """Adam: steps along the mean of the gradients over the root of the mean of their squares.

    Args:
        parameters: `model.parameters()`.
        lr: learning rate, at least 0.
        betas: the shares of the two running means that are kept, each 0 to below 1.
        eps: added to the root.
        weight_decay: this times the value is added to each gradient.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> p = Parameter(np.array([1.0]))
        >>> p.accumulate(np.array([0.5]))
        >>> Adam([p], lr=0.1).step()
        >>> p.value.round(6)
        array([0.9])

    Source: D. Kingma and J. Ba, Adam: a method for stochastic optimization (2015), algorithm 1.
    """

    slot_names = ("m", "v")
    rule = updates.ADAM

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0,
    ):  # fmt: skip
        super().__init__(parameters, lr)
        name = type(self).__name__
        self.betas = (number(name, "betas", betas[0], 0, below=1), number(name, "betas", betas[1], 0, below=1))
        self.eps = number(name, "eps", eps, 0)
        self.weight_decay = number(name, "weight_decay", weight_decay, 0)

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        m, v = slots
        beta1, beta2 = self.betas
        options = beta1, beta2, self.eps, self.weight_decay, self.steps
        reference.adam_update(parameter.value, parameter.grad, m, v, lr, *options)

    def _numbers(self, lr: float) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        scales = 1 - beta1**self.steps, 1 - beta2**self.steps
        return lr, beta1, beta2, self.eps, self.weight_decay, *scales, 1 - beta1, 1 - beta2, self._kept(lr)

    def _kept(self, lr: float) -> float:
        """The share of each value that a step leaves before it changes it."""
        return 1.0


class AdamW(Adam):
    """Adam with weight decay that is no part of the gradient: value -= lr * weight_decay * value, then Adam's step.

    Args:
        parameters: `model.parameters()`.
        lr: learning rate, at least 0.
        betas: as for `Adam`.
        eps: as for `Adam`.
        weight_decay: this times the learning rate is the share of each value that a step takes away.

    Attributes:
        decoupled_decay: the `weight_decay` that was given; the one of `Adam`, which goes into the gradient, is 0.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> p = Parameter(np.array([1.0]))
        >>> AdamW([p], lr=0.1, weight_decay=0.5).step()
        >>> p.value
        array([0.95])

    Source: I. Loshchilov and F. Hutter, Decoupled weight decay regularization (2019), algorithm 2, where the rate is
    part of the decay as in PyTorch.
    """

    rule = updates.ADAM

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.01,
    ):  # fmt: skip
        super().__init__(parameters, lr, betas, eps)
        self.decoupled_decay = number("AdamW", "weight_decay", weight_decay, 0)

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        parameter.value *= self._kept(lr)
        super()._update(parameter, lr, *slots)

    def _kept(self, lr: float) -> float:
        return 1 - lr * self.decoupled_decay


def _decayed(parameter: Parameter, weight_decay: float) -> np.ndarray:
    """The gradient, with the decay's share of the value added to it."""
    return parameter.grad + weight_decay * parameter.value if weight_decay else parameter.grad


def _quotient(grad: np.ndarray, root: np.ndarray) -> np.ndarray:
    """grad / root, 0 where both are: an element that has never had a gradient stays where it is even if eps is 0."""
    return np.divide(grad, root, out=np.zeros_like(grad), where=(root != 0) | (grad != 0))
