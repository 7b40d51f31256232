"""How many threads run a kernel: one number for the whole process, with an override for a `with` block.

Numba's own `set_num_threads` counts only for the thread that calls it, so a number set in the main thread is
forgotten in every other one. Here the wanted number is kept once, holds while a kernel runs, and Numba's own for that
thread is put back; while nothing is set here, Numba's own counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import operator
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numba

from fastconv._runtime import forks

_override: ContextVar[int | None] = ContextVar("fastconv_num_threads", default=None)
_wanted: int | None = None  # None: Numba's number for the thread


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

    That is what `num_threads` or `set_num_threads` says; while neither does, `numba.get_num_threads()` of the calling
    thread. In a process that was forked after its parent's threads had started it is 1: the threads are not in it.

    Example:
        >>> with num_threads(1):
        ...     get_num_threads()
        1
    """
    wanted = _asked_for()
    if wanted is not None:
        return wanted
    # before threads start no number has been set, and to ask for it would start them
    return int(_numba()[0]()) if forks.threads_started() else int(numba.config.NUMBA_NUM_THREADS)


def threads_here() -> int:
    """As `get_num_threads`; jitted code, which runs serial kernels, has a form of it that gives 1."""
    return get_num_threads()


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


def _asked_for() -> int | None:
    if forks.forked:
        return 1
    override = _override.get()
    return _wanted if override is None else override


@functools.cache
def _numba() -> tuple[Any, Any]:
    """Numba's functions that get and set the calling thread's number, of C (50 and 200 ns, not 600 and 900)."""
    from numba.np.ufunc import parallel

    get, put = (
        ctypes.cast(function, ctypes.c_void_p).value or 0
        for function in (parallel._get_num_threads, parallel._set_num_threads)
    )
    # for so short a call the interpreter's lock is kept
    return ctypes.PYFUNCTYPE(ctypes.c_int)(get), ctypes.PYFUNCTYPE(None, ctypes.c_int)(put)


def threads_of_a_launch() -> tuple[int, int]:
    """As `get_num_threads`, where threads have started; and Numba's own number, which a launch may change."""
    wanted, own = _asked_for(), int(_numba()[0]())
    return own if wanted is None else wanted, own


def put_back(own: int) -> None:
    """Have Numba's number for the calling thread be what it was before a launch."""
    _numba()[1](own)
