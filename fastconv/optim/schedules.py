"""Schedules: a factor for the learning rate from the share of the run that is done, 0 to 1.

`fit` takes one as it is, or with other settings: `functools.partial(cosine, warmup=0.05)`. During a warm-up the factor
rises from 0 to 1 in a straight line; what follows is spread over the rest of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer


def constant(done: float, *, warmup: float = 0.0) -> float:
    """The schedule that keeps the learning rate: 1 after the warm-up.

    Args:
        done: the share of the run that is done.
        warmup: the share of the run that the warm-up takes, 0 to below 1.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> constant(0.5), constant(0.05, warmup=0.1)
        (1.0, 0.5)
    """
    return _warmed("constant", done, warmup, lambda share: 1.0)


def step(done: float, *, gamma: float = 0.1, stages: int = 3, warmup: float = 0.0) -> float:
    """The schedule of equal stages, each with `gamma` times the factor of the one before.

    Args:
        done: the share of the run that is done.
        gamma: at least 0.
        stages: how many stages the run has.
        warmup: as for `constant`.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> step(0.3), step(0.4), round(step(0.9), 6)
        (1.0, 0.1, 0.01)
    """
    gamma, stages = number("step", "gamma", gamma, 0), integer("step", "stages", stages, 1)
    # a third of the run, which is 0.333..., belongs to the second stage
    return _warmed("step", done, warmup, lambda share: gamma ** min(int(share * stages + 1e-9), stages - 1))


def exponential(done: float, *, end: float = 0.01, warmup: float = 0.0) -> float:
    """The schedule that lowers the learning rate by the same ratio in equal times.

    Args:
        done: the share of the run that is done.
        end: the factor at the end of the run, above 0.
        warmup: as for `constant`.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> exponential(0.0), round(exponential(0.5), 6), exponential(1.0)
        (1.0, 0.1, 0.01)
    """
    if number("exponential", "end", end, 0) == 0:
        raise ValueError("exponential: end must be above 0, got 0")
    return _warmed("exponential", done, warmup, lambda share: end**share)


def cosine(done: float, *, warmup: float = 0.0) -> float:
    """The schedule that lowers the learning rate along half a cosine, from 1 to 0 at the end of the run.

    Args:
        done: the share of the run that is done.
        warmup: as for `constant`.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> cosine(0.0), round(cosine(0.5), 6), cosine(1.0)
        (1.0, 0.5, 0.0)

    Source: I. Loshchilov and F. Hutter, SGDR: stochastic gradient descent with warm restarts (2017), equation 5.
    """
    return _warmed("cosine", done, warmup, lambda share: (1 + math.cos(math.pi * share)) / 2)


def inverse_sqrt(done: float, *, warmup: float = 0.1) -> float:
    """The schedule that after a warm-up falls with the inverse root of the steps: sqrt(warmup / done).

    Args:
        done: the share of the run that is done.
        warmup: the share of the run that the warm-up takes, above 0 and below 1.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> inverse_sqrt(0.05), inverse_sqrt(0.1), inverse_sqrt(0.4)
        (0.5, 1.0, 0.5)

    Source: A. Vaswani et al., Attention is all you need (2017), section 5.3, equation 3.
    """
    if number("inverse_sqrt", "warmup", warmup, 0, below=1) == 0:
        raise ValueError("inverse_sqrt: warmup must be above 0, got 0")
    return min(number("inverse_sqrt", "done", done, 0) / warmup, math.sqrt(warmup / done) if done else 1.0)


def _warmed(where: str, done: float, warmup: float, after: Callable[[float], float]) -> float:
    """The factor in the warm-up; later `after` of the share of the remaining run that is done."""
    done, warmup = number(where, "done", done, 0), number(where, "warmup", warmup, 0, below=1)
    return done / warmup if done < warmup else after((done - warmup) / (1 - warmup))
