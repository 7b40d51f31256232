"""One class for each library: a method for each operation that it has, which returns the call to be timed.

Arrays are converted and constants handed over before the call; the result is allocated in it. Every library keeps its
own defaults but for the number of threads, because that is how it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problems import Problem

Call = Callable[[], Any]


class Library:
    """The base; an operation without a method is one that the library does not have."""

    version: str

    def call(self, operation: str, problem: Problem) -> Call | None:
        """The call of an operation, or None."""
        make = getattr(self, operation.replace("-", "_"), None)
        return make(problem) if make else None

    def arrays(self, result: Any, problem: Problem) -> list[np.ndarray]:
        """A call's result as NumPy arrays, in fastconv's order and meaning."""
        return [np.asarray(array) for array in (result if isinstance(result, tuple | list) else [result])]
