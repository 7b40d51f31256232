"""How texts for jitted code are made known to Numba: those of public functions, and those that look at types."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fastconv._arguments import arrays, scalars, sizes
from fastconv._overloads.kinds import KINDS, Kind
from fastconv._runtime.jit import jitable, overloaded


def compiled_as(function: Callable, **kinds: Kind) -> Callable:
    """Register what is decorated as the text of `function` in jitted code.

    It has the arguments' names, and after them `where`, the function's name for errors; defaults are set here. Before
    it is compiled, the arguments' types are checked: each by the kind that is given here, else by that of its name in
    `KINDS`. Numba has no arguments that are keywords only.
    """
    where, ordinary = function.__name__, inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = inspect.signature(function).parameters.values()
    signature = inspect.Signature([p.replace(kind=ordinary, annotation=p.empty) for p in parameters])
    checks = {p.name: kinds.get(p.name) or KINDS[p.name] for p in parameters}
    order = sorted(checks, key=lambda name: name == "grad_output" and "x" in checks)  # what is like x, after x
    defaults = [p.default for p in parameters if p.default is not p.empty]

    def register(text: Callable) -> Callable:
        assert [*inspect.signature(text).parameters] == [*checks, "where"], where
        text.__defaults__ = (*defaults, where)

        @functools.wraps(text)
        def typed(*args: Any, **keywords: Any) -> Callable:
            call = signature.bind(*args, **keywords)
            call.apply_defaults()
            for name in order:
                checks[name](where, name, call.arguments)
            return text

        typed.__signature__ = signature  # type: ignore[attr-defined]
        return overloaded(function, typed, values=True)

    return register


def by_types(choose: Callable) -> Callable:
    """Have compiled code that calls this function call the one that it returns for the types of the arguments."""
    return overloaded(choose, choose)


def by_values(choose: Callable) -> Callable:
    """As `by_types`, with the values of arguments where they are known; it is compiled for each of these."""
    return overloaded(choose, choose, values=True)


def text(function: Callable) -> Callable:
    """Have compiled code call this function as it stands; values that are known there are known here."""
    return overloaded(function, lambda *args: function, values=True)


for _function in (arrays.check_memory, arrays.same_shape, scalars.check_limits, sizes.check_range, sizes.check_axis):
    jitable(_function)
