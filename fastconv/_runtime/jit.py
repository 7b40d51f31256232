"""The only place with Numba flags: the decorators of kernels and helpers, safe launches."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.extending import register_jitable

from fastconv._runtime import forks, threads
from fastconv._runtime.cache import PackageCache, serial_only
from fastconv._runtime.linking import link

# contract: a product and a sum may become one fused multiply-add; reassoc: a dot product may be summed in lanes.
# Never nnan or ninf: NaN and infinity are results that users may rely on.
FASTMATH = {"contract", "reassoc"}

# Elements that one thread gets through while a launch on threads would take place (measured: about 10 µs).
SERIAL_ELEMENTS = 2**16

# Whether Numba's threads have started, and the lock for a threading layer that takes one thread at a time.
_launched = False
_one_at_a_time: contextlib.AbstractContextManager[Any] | None = None


def _compiled(function: Callable, fastmath: bool, parallel: bool = False, inline: str = "never") -> Any:
    options = {"fastmath": FASTMATH if fastmath else False, "parallel": parallel, "inline": inline}
    dispatcher = numba.njit(function, error_model="numpy", nogil=True, **options)
    if not numba.config.DISABLE_JIT:
        # a read-only or home-less install has no folder for a cache: then every process compiles anew
        with contextlib.suppress(Exception):
            dispatcher._cache = PackageCache(function, f"fastmath={fastmath} parallel={parallel}")
    return dispatcher


def helper(function: Callable) -> Any:
    """Compile a serial function that kernels call; products may fuse and sums be reordered."""
    return _compiled(function, fastmath=True)


def inlined(function: Callable) -> Any:
    """Compile a `helper` as a part of each of its callers, for helpers around others.

    A call with a dozen arrays costs some 50 ns, mostly counting references; and each function in between is code for
    the tiles compiled once more.
    """
    return _compiled(function, fastmath=True, inline="always")


def strict_helper(function: Callable) -> Any:
    """Compile a serial function that kernels call, with IEEE order and NaN comparisons to the letter."""
    return _compiled(function, fastmath=False)


# what fastmath, or another model of errors, of the user's function would change
STRICT: dict[str, Any] = {"fastmath": False, "error_model": "numpy"}


def jitable(function: Callable) -> Callable:
    """Have jitted code compile a small function that Python runs as it stands, as a part of what calls it."""
    return register_jitable(**STRICT)(function)


# what a function returns, by its annotation: told, so that it need not be compiled to know
RESULTS = {"None": types.none, "bool": types.boolean, "int": types.int64, "float": types.float64}


def linked(function: Callable) -> Callable:
    """Have jitted code call what is compiled apart of a function that Python runs as it stands: one text for both."""
    _link(function, function)
    return function


def planned(function: Callable) -> Callable:
    """As `linked`, of a pure function of hashable arguments, whose results Python keeps."""
    kept = functools.lru_cache(maxsize=1024)(function)
    _link(kept, function)
    return kept


def _link(called: Callable, function: Callable) -> None:
    if not numba.config.DISABLE_JIT:
        link(called, lambda: strict_helper(function), RESULTS.get(function.__annotations__.get("return", "")))


class Kernel:
    """A compiled function with a parallel form and a serial twin; calling it runs it on threads, where there are any.

    Jitted code that calls it runs the serial twin, since it may be in a parallel loop of its own.

    Attributes:
        function: the Python function itself.
        parallel: its compiled form with `prange` loops on threads.
        serial: its compiled form on the calling thread; also what other compiled code may call.
    """

    def __init__(self, function: Callable, fastmath: bool, work: Callable[..., int] | None = None):
        functools.update_wrapper(self, function)
        self.function = function
        self.parallel = _compiled(function, fastmath, parallel=True)
        self.serial = _compiled(function, fastmath)
        self._work = work
        if not numba.config.DISABLE_JIT:
            link(self, lambda: self.serial, RESULTS[function.__annotations__.get("return", "None")])

    def sized(self, elements: int) -> Callable:
        """The form for a loop over `elements` elements: few are done before threads would have started."""
        return self if elements >= SERIAL_ELEMENTS else self.serial

    def __call__(self, *args: Any) -> Any:
        if numba.config.DISABLE_JIT or serial_only() or (self._work and self._work(*args) < SERIAL_ELEMENTS):
            return self.serial(*args)
        if not _launched:
            _launch()
        before = threads.apply()
        try:
            if _one_at_a_time is None:
                return self.parallel(*args)
            with _one_at_a_time:
                return self.parallel(*args)
        finally:
            if before:
                threads.restore(before)


def kernel(function: Callable) -> Kernel:
    """Make a kernel whose products may fuse and whose dot products may be summed in lanes."""
    return Kernel(function, fastmath=True)


def sized_kernel(function: Callable) -> Kernel:
    """Make a `kernel` that stays on the calling thread where its first array has few elements."""
    return Kernel(function, fastmath=True, work=_elements)


def kernel_of(work: Callable[..., int]) -> Callable[[Callable], Kernel]:
    """Make a `kernel` that stays on the calling thread where `work` of its arguments is that of few elements."""
    return lambda function: Kernel(function, fastmath=True, work=work)


def strict_kernel(function: Callable) -> Kernel:
    """Make a kernel that keeps IEEE order and NaN comparisons to the letter (pooling needs them)."""
    return Kernel(function, fastmath=False)


def sized_strict_kernel(function: Callable) -> Kernel:
    """Make a `strict_kernel` that stays on the calling thread where its first array has few elements."""
    return Kernel(function, fastmath=False, work=_elements)


def _elements(first: Any, *others: Any) -> int:
    return first.size


def _launch() -> None:
    """Start Numba's threads and note whether its threading layer may be entered by two threads at once."""
    global _launched, _one_at_a_time
    from numba.np.ufunc.parallel import _launch_threads

    with forks.launching:
        if _launched:  # by another thread meanwhile, whose lock must stay the only one
            return
        _launch_threads()
        forks.stay_alone_in_children()
        if numba.threading_layer() == "workqueue":
            # two threads inside the workqueue layer abort the process
            _one_at_a_time = threading.RLock()
        _launched = True


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = None  # the layer is not entered any more, and another thread of the parent may be in it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
