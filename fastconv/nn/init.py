"""Initialisers: arrays of random weights, scaled by the number of inputs (fan-in) and outputs (fan-out) of a layer.

Every function takes the shape, (OUT, IN) or (OC, C/groups, KH, KW), a source of randomness and the dtype.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments.scalars import Rng as Rng
from fastconv._arguments.scalars import generator as generator

Shape: TypeAlias = tuple[int, ...]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of weights (OUT, IN, KH, KW) or (OUT, IN): IN * KH * KW and OUT * KH * KW.

    Example:
        >>> fans((6, 1, 5, 5))
        (25, 150)
    """
    if len(shape) < 2:
        raise ValueError(f"shape must have at least 2 sizes to have a fan-in, got {shape}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def normal(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32, *, std: float = 0.01) -> np.ndarray:
    """Normal with mean 0 and standard deviation `std`."""
    return (generator(rng).standard_normal(shape) * std).astype(dtype)


def uniform(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32, *, bound: float = 0.01) -> np.ndarray:
    """Uniform from -bound to bound."""
    return generator(rng).uniform(-bound, bound, shape).astype(dtype)


def zeros(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Zeros; `rng` is taken so that every initialiser has the same signature."""
    return np.zeros(shape, dtype)


def truncated_normal(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32, *, std: float = 0.1) -> np.ndarray:
    """Normal with standard deviation `std`, drawn anew where it falls further than 2 std from 0."""
    source = generator(rng)
    values = source.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = source.standard_normal(np.count_nonzero(far))
    return (values * std).astype(dtype)


def he_uniform(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform with variance 2 / fan_in, for layers before a ReLU. Source: K. He et al. (2015), section 2.2.

    Example:
        >>> bool(np.abs(he_uniform((4, 6), rng=0)).max() <= 1)
        True
    """
    return uniform(shape, rng, dtype, bound=math.sqrt(6 / fans(shape)[0]))


def he_normal(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in, for layers before a ReLU. Source: K. He et al. (2015), section 2.2."""
    return normal(shape, rng, dtype, std=math.sqrt(2 / fans(shape)[0]))


def xavier_uniform(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform with variance 2 / (fan_in + fan_out). Source: X. Glorot and Y. Bengio (2010), equation 16."""
    return uniform(shape, rng, dtype, bound=math.sqrt(6 / sum(fans(shape))))


def xavier_normal(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / (fan_in + fan_out). Source: X. Glorot and Y. Bengio (2010), section 4.2."""
    return normal(shape, rng, dtype, std=math.sqrt(2 / sum(fans(shape))))


def lecun_normal(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 1 / fan_in. Source: Y. LeCun et al., Efficient BackProp (1998), section 4.6."""
    return normal(shape, rng, dtype, std=math.sqrt(1 / fans(shape)[0]))


def lecun_uniform(shape: Shape, rng: Rng = None, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform with variance 1 / fan_in. Source: Y. LeCun et al., Efficient BackProp (1998), section 4.6."""
    return uniform(shape, rng, dtype, bound=math.sqrt(3 / fans(shape)[0]))
