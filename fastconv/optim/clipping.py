"""Clipping: gradients made smaller before a step, so that one bad batch does not carry the weights away."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fastconv._arguments.scalars import number
from fastconv.kernels import updates
from fastconv.nn.base import Parameter
from fastconv.optim.group import DTYPES, Group, by_kernels

NO_LIMITS = (math.inf, 1.0)  # of elements; the factor of all


class Clip(NamedTuple):
    """What limits the gradients before a step; at most one does.

    Attributes:
        norm: as for `clip_grad_norm`.
        value: as for `clip_grad_value`.
    """

    norm: float | None = None
    value: float | None = None

    def apply(self, parameters: Iterable[Parameter]) -> None:
        """Clip the gradients, in place."""
        if self.norm is not None:
            clip_grad_norm(parameters, self.norm)
        elif self.value is not None:
            clip_grad_value(parameters, self.value)

    def limits(self, group: Group) -> tuple[float, float]:
        """For the kernel: the largest magnitude of a group's elements, and the factor."""
        if self.norm is not None:
            return math.inf, _factor(self.norm, group.norm())
        return NO_LIMITS if self.value is None else (self.value, 1.0)


NO_CLIP = Clip()


def clip_grad_value(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Limit every element of the gradients to -clip_value..clip_value, in place; NaN stays.

    Args:
        parameters: `model.parameters()`.
        clip_value: the limit, at least 0.

    Raises:
        ValueError: `clip_value` is out of range.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> p = Parameter(np.zeros(3))
        >>> p.accumulate(np.array([1.0, -20.0, 30.0]))
        >>> clip_grad_value([p], 10)
        >>> p.grad
        array([  1., -10.,  10.])

    Source: semantics of PyTorch's `clip_grad_value_`.
    """
    limit = number("clip_grad_value", "clip_value", clip_value, 0)
    gradients = _gradients("clip_grad_value", parameters)
    group = _group(gradients)
    if group:
        group.update(updates.NO_RULE, (), (limit, 1.0))
        return
    for grad in gradients:
        np.clip(grad, -limit, limit, out=grad)


def clip_grad_norm(
    parameters: Iterable[Parameter], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients, in place, by one factor, min(1, max_norm / (norm + 1e-6)), norm being that of all together.

    Args:
        parameters: `model.parameters()`; those that are frozen do not count.
        max_norm: the largest norm that is left, at least 0.
        norm_type: p of the norm (sum |g|**p)**(1/p), above 0; infinity gives the largest |g|.
        error_if_nonfinite: whether an infinite norm or NaN is an error; otherwise it makes gradients NaN.

    Returns:
        The norm before; 0.0 without parameters.

    Raises:
        ValueError: a number is out of range, or the norm is not finite and `error_if_nonfinite`.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> p = Parameter(np.zeros(2))
        >>> p.accumulate(np.array([3.0, 4.0]))
        >>> clip_grad_norm([p], 1.0), p.grad.round(6)
        (5.0, array([0.6, 0.8]))

    Source: semantics of PyTorch's `clip_grad_norm_`; R. Pascanu et al., On the difficulty of training recurrent neural
    networks (2013), section 3.2.
    """
    where = "clip_grad_norm"
    limit = number(where, "max_norm", max_norm, 0)
    power = norm_type if norm_type == math.inf else number(where, "norm_type", norm_type, 0)
    if power == 0:
        raise ValueError("clip_grad_norm: norm_type must be above 0, got 0")
    gradients = _gradients(where, parameters)
    group = _group(gradients) if power == 2 else None
    norm = group.norm() if group else _norm(gradients, power)
    if error_if_nonfinite and not math.isfinite(norm):
        raise ValueError(f"clip_grad_norm: the gradients' norm is {norm}, a finite one was needed")
    factor = _factor(limit, norm)
    if group and factor != 1:
        group.update(updates.NO_RULE, (), (math.inf, factor))
    elif factor != 1:
        with np.errstate(invalid="ignore"):  # 0 times infinity
            for grad in gradients:
                grad *= grad.dtype.type(factor)
    return norm


def _gradients(where: str, parameters: Iterable[Parameter]) -> list[np.ndarray]:
    parameters = list(parameters)
    for p in parameters:
        if not isinstance(p, Parameter):
            raise TypeError(f"{where}: parameters must be Parameters, got {type(p).__name__}")
    return [p.grad for p in {id(p): p for p in parameters}.values() if p.trainable]


def _group(gradients: list[np.ndarray]) -> Group | None:
    """The gradients as one kernel call takes them; None where it cannot."""
    if not by_kernels() or not gradients or gradients[0].dtype not in DTYPES:
        return None
    group = Group(gradients[0].dtype)
    return group if group.fill(gradients, gradients) else None


def _factor(limit: float, norm: float) -> float:
    """What the gradients are multiplied by: at most 1, NaN for a norm that is NaN."""
    factor = limit / (norm + 1e-6)
    return 1.0 if factor >= 1 else factor


def _norm(gradients: list[np.ndarray], power: float) -> float:
    """The norm of all elements together; in float64, where the squares of float32 neither overflow nor vanish."""
    with np.errstate(over="ignore"):
        magnitudes = [np.abs(grad, dtype=np.float64) for grad in gradients if grad.size]
        if power == math.inf:
            return float(np.max([a.max() for a in magnitudes], initial=0.0))
        return float(np.sum([(a**power).sum() for a in magnitudes]) ** (1 / power))
