"""Arguments that are neither arrays nor sizes: real numbers, switches, sources of randomness."""

from __future__ import annotations

import math
import sys
from typing import Any, TypeAlias

import numpy as np

from fastconv.errors import RangeError

LARGEST = sys.float_info.max
Rng: TypeAlias = np.random.Generator | int | None


def limits(least: float, most: float, below: float) -> str:
    """How an error names the limits of a number."""
    lower = f", at least {least:g}" if least > -LARGEST else ""
    return lower + (f", at most {most:g}" if most < LARGEST else f", below {below:g}" if below < math.inf else "")


def check_limits(where: str, name: str, value: Any, least: float, most: float, below: float, text: str) -> None:
    """Raise a RangeError with the `limits` in `text` unless the number is finite and in them; for jitted code too."""
    if not (least <= value <= most and value < below):
        raise RangeError("{}: {} must be finite{}, got {}", where, name, text, value)


def number(
    where: str, name: str, value: Any, least: float = -LARGEST, most: float = LARGEST, below: float = math.inf
) -> float:
    """`value` as a finite float from `least` to `most` and below `below`, or an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    check_limits(where, name, value, least, most, below, limits(least, most, below))
    return float(value)


def switch(where: str, name: str, value: Any) -> bool:
    """`value` as a Python bool, or an error that names the argument."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: {name} must be True or False, got {value!r}")
    return bool(value)


def generator(rng: Rng, where: str = "") -> np.random.Generator:
    """`rng` itself if it is a Generator, otherwise a new one seeded with the integer (None: with fresh entropy).

    Raises:
        TypeError: `rng` is none of these; NumPy's global random state is never used.
        ValueError: the integer is negative.
    """
    prefix = f"{where}: " if where else ""
    if (rng is not None and not isinstance(rng, np.random.Generator | int | np.integer)) or isinstance(rng, bool):
        raise TypeError(f"{prefix}rng must be a numpy.random.Generator, an integer seed or None, got {rng!r}")
    if isinstance(rng, int | np.integer) and rng < 0:
        raise ValueError(f"{prefix}rng must be a seed of at least 0, got {rng}")
    return np.random.default_rng(rng)
