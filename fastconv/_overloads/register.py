"""How the compiled forms of functions are made known to Numba."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from numba.extending import overload

from fastconv._arguments import arrays, scalars, sizes
from fastconv._runtime.jit import STRICT, jitable


def compiled_as(function: Callable, literal: bool = True) -> Callable:
    """Register what is decorated as the maker of compiled forms of `function`.

    The maker gets the types of all arguments in order, where `literal` with their values if those are known, and for
    arguments that are left out the default itself. What it returns has the arguments' names; their defaults are set
    here. Numba has no arguments that are keywords only.
    """
    ordinary = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = inspect.signature(function).parameters.values()
    signature = inspect.Signature([p.replace(kind=ordinary, annotation=p.empty) for p in parameters])
    defaults = tuple(p.default for p in parameters if p.default is not p.empty)

    def register(make: Callable) -> Callable:
        @functools.wraps(make)
        def typed(*args: Any, **keywords: Any) -> Callable:
            call = signature.bind(*args, **keywords)
            call.apply_defaults()
            compiled = make(*call.arguments.values())
            compiled.__defaults__ = defaults
            return compiled

        typed.__signature__ = signature  # type: ignore[attr-defined]
        overload(function, jit_options=STRICT, prefer_literal=literal)(typed)
        return make

    return register


for _function in (arrays.check_memory, arrays.same_shape, scalars.check_limits, sizes.check_range, sizes.check_axis):
    jitable(_function)
