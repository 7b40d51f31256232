"""How many threads run a kernel: one number for the whole process, with an override for a `with` block.

Numba's own `set_num_threads` counts only for the thread that calls it, so a number set in the main thread is
forgotten in every other one. Here the wanted number is kept once and applied in each thread that launches a kernel.
"""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import numba

_override: ContextVar[int | None] = ContextVar("fastconv_num_threads", default=None)
_applied = threading.local()
_wanted: int | None = None  # None: whatever Numba starts with


def _checked(n: int, where: str) -> int:
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"{where}: n must be an integer, got {n!r}") from None
    most = numba.config.NUMBA_NUM_THREADS
    if isinstance(n, bool) or not 1 <= count <= most:
        raise ValueError(f"{where}: n must be from 1 to {most} (NUMBA_NUM_THREADS), got {n!r}")
    return count


def set_num_threads(n: int) -> None:
    """Let every kernel of this process run on `n` threads from now on, whichever thread calls it.

    Args:
        n: 1 to the number of threads Numba started with (the processors, or `NUMBA_NUM_THREADS`).

    Raises:
        ValueError: `n` is out of that range.
        TypeError: `n` is not an integer.

    Example:
        >>> set_num_threads(1)
        >>> get_num_threads()
        1
    """
    global _wanted
    _wanted = _checked(n, "set_num_threads")


def get_num_threads() -> int:
    """The number of threads a kernel called here would run on.

    Example:
        >>> with num_threads(1):
        ...     get_num_threads()
        1
    """
    override = _override.get()
    if override is not None:
        return override
    return _wanted if _wanted is not None else int(numba.config.NUMBA_NUM_THREADS)


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Run the kernels called inside the block on `n` threads; other threads of the program are not touched.

    Args:
        n: as for `set_num_threads`.

    Raises:
        ValueError: `n` is out of range.
        TypeError: `n` is not an integer.

    Example:
        >>> with num_threads(1):
        ...     print(get_num_threads())
        1
    """
    token = _override.set(_checked(n, "num_threads"))
    try:
        yield
    finally:
        _override.reset(token)


def apply() -> None:
    """Tell Numba, for the calling thread, how many threads to use; costs a fraction of a microsecond."""
    wanted = get_num_threads()
    if getattr(_applied, "n", None) != wanted:
        numba.set_num_threads(wanted)
        _applied.n = wanted
