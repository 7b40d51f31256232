"""The only place with Numba flags: the decorators of kernels and helpers, safe launches."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
from numba import types
from numba.extending import overload

from fastconv._runtime import recording, starting, threads
from fastconv._runtime.forms import Form, name_of
from fastconv._runtime.launch import ALONE, RESULTS, entry_of, launcher, link_kernel
from fastconv._runtime.linking import link
from fastconv._runtime.store import serial_only

# contract: a product and a sum may become one fused multiply-add; reassoc: a dot product may be summed in lanes.
# Never nnan or ninf: NaN and infinity are results that users may rely on.
FASTMATH = {"contract", "reassoc"}

# Elements that one thread gets through while a launch on threads would take place (measured: about 10 µs).
SERIAL_ELEMENTS = 2**16
SERIAL_ELEMENTS_OF_A_STEP = 2**12  # the same where the threads are awake: see `recording`
PRODUCTS_OF_AN_ELEMENT = 16  # multiply-adds that take as long as one element of a loop over memory does


def elements(results: int, terms: int) -> int:
    """How many elements of a loop take as long as so many results, each the sum of `terms` products."""
    return results + results * terms // PRODUCTS_OF_AN_ELEMENT


# Whether every kernel runs on the calling thread: for the bounds check, or in plain Python.
ONE_THREAD = serial_only() or bool(numba.config.DISABLE_JIT)


def _compiled(function: Callable, fastmath: bool, inline: str = "never", entry: bool = False) -> Any:
    options = {"fastmath": FASTMATH if fastmath else False, "inline": inline}
    if not entry:  # only compiled code calls it
        options.update(no_cpython_wrapper=True, no_cfunc_wrapper=True)
    dispatcher = numba.njit(function, error_model="numpy", nogil=True, **options)
    if not numba.config.DISABLE_JIT:
        dispatcher._compiler._customize_flags = _without_aliases
    return dispatcher


def _without_aliases(flags: Any) -> Any:
    """Numba's flags, with what it says of the loops of its own threads: no argument overlaps another that is written.

    Otherwise LLVM loads anew what a store might have changed, or compares addresses before each loop.
    """
    flags.noalias = True
    return flags


def _form(function: Callable, fastmath: bool) -> Form:
    return Form(name_of(function), lambda: _compiled(function, fastmath))


def helper(function: Callable) -> Any:
    """Compile a serial function that kernels call; products may fuse and sums be reordered."""
    return _compiled(function, fastmath=True)


def inlined(function: Callable) -> Any:
    """Compile a `helper` as a part of each of its callers, for helpers around others.

    A call with a dozen arrays costs some 50 ns, mostly counting references; and each function in between is code for
    the tiles compiled once more.
    """
    return _compiled(function, fastmath=True, inline="always")


def linked_helper(function: Callable, fastmath: bool = True) -> Callable:
    """Compile a `helper` apart, which kernels call where it lies.

    Otherwise each kernel has a copy, which is compiled with it: the micro-kernels take longer than the loops around
    them. Without fastmath it is a `strict_helper`.
    """
    result = RESULTS[function.__annotations__.get("return", "None")]
    if not numba.config.DISABLE_JIT:
        link(function, _form(function, fastmath), result)
    return function


def strict_helper(function: Callable) -> Any:
    """Compile a serial function that kernels call, with IEEE order and NaN comparisons to the letter."""
    return _compiled(function, fastmath=False)


# what fastmath, or another model of errors, of the user's function would change; only compiled code calls it
STRICT: dict[str, Any] = {"fastmath": False, "error_model": "numpy", "no_cfunc_wrapper": True}


# told results of linked functions besides those that kernels have
FLOAT = {"float": types.float64}


def overloaded(function: Callable, choose: Callable, values: bool = False) -> Callable:
    """Have jitted code that calls `function` compile, as a part of it, what `choose` returns for the arguments' types.

    Where `values`, these tell the values that are known. Returns `function`.
    """

    @functools.wraps(choose)
    def chosen(*args: Any, **keywords: Any) -> Callable:
        return _in_users_caches(choose(*args, **keywords))

    overload(function, jit_options=STRICT, prefer_literal=values, strict=False)(chosen)
    return function


def _in_users_caches(function: Callable) -> FunctionType:
    """A function under the name of a module that later versions have too: Numba's cache imports it.

    A user's cache has such a name for each part of a compiled function, and Numba does not look there again where it is
    missing, but raises.
    """
    assert isinstance(function, FunctionType)
    name, defaults, closure = function.__name__, function.__defaults__, function.__closure__
    copy = FunctionType(function.__code__, function.__globals__, name, defaults, closure)
    # one name for two functions would be one record of constants
    copy.__qualname__ = f"{function.__module__.removeprefix('fastconv.')}.{function.__qualname__}"
    copy.__module__ = "fastconv"
    return copy


def jitable(function: Callable) -> Callable:
    """Have jitted code compile a small function that Python runs as it stands, as a part of what calls it."""
    if not numba.config.DISABLE_JIT:
        overloaded(function, lambda *args, **keywords: function)
    return function


def linked(function: Callable) -> Callable:
    """Have jitted code call what is compiled apart of a function that Python runs as it stands: one text for both."""
    _link(function, function)
    return function


def planned(function: Callable) -> Callable:
    """As `linked`, of a pure function of hashable arguments, whose results Python keeps."""
    kept = functools.lru_cache(maxsize=1024)(function)
    _link(kept, function)
    return kept


def keeping(plain: Callable) -> Callable[[Callable], Callable]:
    """Have jitted code call what is compiled of `plain` in place of a function that keeps results, for Python alone."""

    def decorated(function: Callable) -> Callable:
        _link(function, plain)
        return function

    return decorated


def _link(called: Callable, function: Callable) -> None:
    if not numba.config.DISABLE_JIT:
        link(called, _form(function, False), (RESULTS | FLOAT).get(function.__annotations__.get("return", "")))


class Kernel:
    """A function whose `prange` loops threads share, compiled once (see `launch`); calling it runs it on threads.

    Jitted code that calls it runs it on the calling thread, since it may be in a parallel loop of its own.

    Attributes:
        functions: the Python functions, of which each is run when the one before has ended; the first argument of each
            is the team.
        fastmath: whether products may fuse and sums be reordered.
    """

    def __init__(
        self, function: Callable, fastmath: bool, work: Callable[..., int] | None = None,
        first: Kernel | None = None, first_alone: bool = False,
    ):  # fmt: skip
        functools.update_wrapper(self, function)
        self.functions: list[Callable] = [*(first.functions if first else []), function]
        self.fastmath, self._work = fastmath, work
        self._result = RESULTS[function.__annotations__.get("return", "None")]
        if not numba.config.DISABLE_JIT:
            self._forms: list[Form] = [*(first._forms if first else []), _form(function, fastmath)]
            link_kernel(self, self._forms, self._result)
            self._alone: list[bool] = [*(first_alone or alone for alone in (first._alone if first else [])), False]
            launch = launcher(self._forms, self._alone, self._result)
            self._entry = Form(
                f"{name_of(function)}.entry", lambda: _compiled(entry_of(function, launch), False, entry=True)
            )

    @functools.cached_property
    def entry(self) -> Any:
        """What Python calls of it: (team_size, *arguments), compiled."""
        if numba.config.DISABLE_JIT:
            return self._interpreted
        return self._entry.of_python()

    @property
    def forms(self) -> list[Form]:
        """What is compiled of it: the entry, and the functions."""
        return [self._entry, *self._forms]

    def sized(self, elements: int) -> Callable:
        """The form for a loop over `elements` elements: few are done before threads would have started."""
        if elements >= SERIAL_ELEMENTS or recording.current is not None:
            return self
        return functools.partial(self.entry, 1)

    def __call__(self, *args: Any) -> Any:
        noted = recording.current
        if noted is not None and noted.here():
            return self._recorded(noted, args)
        if ONE_THREAD or (self._work and self._work(*args) < SERIAL_ELEMENTS):
            return self.entry(1, *args)
        return starting.on_threads(self.entry, *args)

    def prepared(self, elements: int | None = None) -> Callable:
        """The kernel for arguments of the same types at every call, and a loop over so many elements where that tells.

        Which types they are is looked at once: Numba's dispatcher takes half of the time of a small launch for that.
        """
        alone = ONE_THREAD or (elements is not None and elements < SERIAL_ELEMENTS)
        run: Callable | None = None

        def launch(*args: Any) -> Any:
            nonlocal run
            if recording.current is not None:
                return self(*args)
            if run is None:
                entry = self.entry if numba.config.DISABLE_JIT else self._entry.function_of(1, *args)
                if not (ONE_THREAD or self._work or starting.started):
                    starting.start()  # which keeps users' own parallel loops alone in forked children
                run = functools.partial(entry, 1) if alone else functools.partial(starting.on_threads, entry)
            return run(*args)

        return launch

    def _recorded(self, noted: recording.Recording, args: tuple[Any, ...]) -> Any:
        few = self._work and self._work(*args) < SERIAL_ELEMENTS_OF_A_STEP
        noted.keep(args)
        if not starting.started:
            starting.start()
        own = threads.threads_of_a_launch()[1]
        try:
            with starting.one_at_a_time or contextlib.nullcontext():
                return self.entry(-1 if few else -noted.threads, *args)
        finally:
            threads.put_back(own)

    def _interpreted(self, threads: int, *args: Any) -> Any:
        result = None
        for function in self.functions:
            result = function(ALONE, *args)
            if result is not None and result != (self._result is types.boolean):
                break
        return result


def kernel(function: Callable) -> Kernel:
    """Make a kernel whose products may fuse and whose dot products may be summed in lanes."""
    return Kernel(function, fastmath=True)


def kernel_after(first: Kernel, alone: bool = False) -> Callable[[Callable], Kernel]:
    """Make a kernel that runs `first` before, with the same arguments; not itself where that counts or says no.

    Args:
        first: the kernel before.
        alone: whether that runs on the calling thread, where it is too short to wait for others.
    """
    return lambda function: Kernel(function, first.fastmath, first._work, first=first, first_alone=alone)


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
