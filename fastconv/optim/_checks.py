"""Numbers given as arguments, checked."""

from __future__ import annotations

import numpy as np


def number(where: str, name: str, value: float, least: float, below: float = np.inf) -> float:
    """`value` as a Python float from `least` to below `below`, or an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    if not least <= value < below:
        limit = f"at least {least}" + (f" and below {below}" if below < np.inf else "")
        raise ValueError(f"{where}: {name} must be finite, {limit}, got {value}")
    return float(value)
