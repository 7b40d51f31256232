"""Which implementation runs: the Numba kernels, or the plain NumPy of `fastconv.reference`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from fastconv._arguments.names import one_of

BACKENDS = ("numba", "numpy")

_backend: ContextVar[str] = ContextVar("fastconv_backend", default="numba")


def get_backend() -> str:
    """The name of the backend in use here: `"numba"` or `"numpy"`.

    Example:
        >>> get_backend()
        'numba'
    """
    return _backend.get()


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run everything inside the block on another backend, with the same checks and the same results.

    Args:
        name: `"numba"` (the compiled kernels) or `"numpy"` (`fastconv.reference`, to compare with).

    Raises:
        ValueError: there is no such backend.

    Example:
        >>> with use_backend("numpy"):
        ...     get_backend()
        'numpy'
    """
    token = _backend.set(one_of("use_backend", "name", name, BACKENDS))
    try:
        yield
    finally:
        _backend.reset(token)


def on_numpy() -> bool:
    """Whether the NumPy backend is in use."""
    return _backend.get() == "numpy"
