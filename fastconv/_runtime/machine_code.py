"""Machine code that an earlier process compiled, brought to life without a compiler: 2 ms, where Numba takes 0.4 s.

Numba loads code of its cache as a part of its compiler, which it sets up for that: all types and functions it knows.
Here the object file alone is handed to LLVM, in an engine of its own. So two files may define the same name: what is
loaded later does not replace what an earlier one calls.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding
from numba import _dynfunc
from numba.core.environment import Environment


class Code(NamedTuple):
    """What a function was compiled to for one signature.

    Attributes:
        binary: an object file.
        symbol: the function in it, as compiled code calls it.
        wrapper: the function in it that Python calls; empty where only compiled code calls it.
        result: the type of its result, pickled.
        needs: the cells that it calls through, of functions: their names and signatures, pickled.
        environments: places that hold one of Numba's environments, and the objects in it, pickled.
    """

    binary: bytes
    symbol: str
    wrapper: str
    result: bytes
    needs: tuple[tuple[str, bytes], ...]
    environments: tuple[tuple[str, bytes], ...]

    def result_type(self) -> Any:
        """The type of its result."""
        return pickle.loads(self.result)


_kept: list[Any] = []  # code lives as long as its engine, and has references to its environments


def load(code: Code) -> Any:
    """The engine that holds the code from now on. Precondition: the cells that it needs are there."""
    _prepare()
    binding = llvmlite.binding
    module = binding.parse_assembly("")
    module.triple = binding.get_process_triple()
    machine = binding.Target.from_triple(module.triple).create_target_machine(jit=True)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code.binary))
    engine.finalize_object()
    _kept.append(engine)
    for symbol, objects in code.environments:
        environment = Environment({})  # nothing that is compiled here looks up a global name
        environment.consts[:] = pickle.loads(objects)
        _kept.append(environment)
        ctypes.c_void_p.from_address(engine.get_global_value_address(symbol)).value = id(environment)
    return engine


def address(code: Code) -> int:
    """Where the function of loaded code lies, for compiled code."""
    return int(load(code).get_function_address(code.symbol))


def callable_of(code: Code, function: Callable) -> Any:
    """The function of loaded code as a Python function, which stands for `function`."""
    pointer = int(load(code).get_function_address(code.wrapper))
    module = importlib.import_module(function.__module__)
    name, text = function.__name__, function.__doc__ or ""
    made = _dynfunc.make_function(module, name, text, pointer, Environment({}), (code,))
    _kept.append(made)  # Numba's dispatcher has no reference of its own
    return made


@functools.cache
def _prepare() -> None:
    """Make known to LLVM what Numba's code calls in it: the functions that allocate and release arrays."""
    from numba.core.runtime import _nrt_python

    for name, place in _nrt_python.c_helpers.items():
        llvmlite.binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", place)
