"""What every activation has: called with an array, it is the function of every element."""

from __future__ import annotations

from typing import Any

import numpy as np


def floats(x: Any) -> np.ndarray:
    """x as an array of floats: integers become float64."""
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


class ActivationBase:
    """The base of the activations; one of your own defines `fn`, `grad`, and `grad2` if it is used."""

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """The function of every element; a vector is a single row."""
        z = floats(z)
        return self.fn(z.reshape(1, -1) if z.ndim == 1 else z)

    def fn(self, z: np.ndarray) -> np.ndarray:
        """The function."""
        raise NotImplementedError(f"{type(self).__name__} does not define fn(z)")

    def grad(self, x: np.ndarray) -> np.ndarray:
        """Its derivative."""
        raise NotImplementedError(f"{type(self).__name__} does not define grad(x)")

    def grad2(self, x: np.ndarray) -> np.ndarray:
        """Its second derivative."""
        raise NotImplementedError(f"{type(self).__name__} does not define grad2(x)")

    def __str__(self) -> str:
        return type(self).__name__
