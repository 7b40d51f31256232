"""Functions, and what they are compiled to for each signature: once, by this process or an earlier one."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.environment import lookup_environment
from numba.core.serialize import dumps
from numba.core.typing.typeof import Purpose, typeof
from numba.np import numpy_support

from fastconv._runtime import machine_code, notices, shipped, store
from fastconv._runtime.cells import Need, Signature, cell, cells_of, register
from fastconv._runtime.machine_code import Code

# where the code of this process comes from: with the package, from the user's folder, from the compiler
COUNTS = {"shipped": 0, "kept": 0, "compiled": 0}


def origins(before: dict[str, int] | None = None) -> str:
    """How many functions are from where, those that were there `before` left out."""
    found = {name: count - (before or {}).get(name, 0) for name, count in COUNTS.items()}
    return ", ".join(f"{count} {name}" for name, count in found.items() if count)


class Form:
    """A function as Numba compiles it.

    Attributes:
        name: the module and the name in it, by which other processes know it.
        loaded: how many signatures were found compiled.
        compiled: how many were compiled here.
    """

    def __init__(self, name: str, make: Callable[[], Any]):
        self.name, self.loaded, self.compiled, self._make = name, 0, 0, make
        register(name, self)
        self._code: dict[Signature, Code | None] = {}  # None: there is none that can be used
        self._addresses: dict[Signature, int] = {}
        self._functions: dict[Signature, Callable] = {}

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What Numba compiles it with."""
        return self._make()

    @property
    def signatures(self) -> list[Signature]:
        """Those that it is compiled for."""
        loaded = [signature for signature, code in self._code.items() if code]
        return list(dict.fromkeys([*loaded, *self.dispatcher.overloads]))

    def result(self, signature: Signature) -> types.Type:
        """The type of its result."""
        with global_compiler_lock:
            code = self._found(signature)
            return code.result_type() if code else self._compiled(signature).signature.return_type

    def address(self, signature: Signature) -> int:
        """Where its code lies, for compiled code."""
        with global_compiler_lock:
            if signature not in self._addresses:
                place = self._brought(signature, machine_code.address)
                if place is None:
                    found = self._compiled(signature)
                    place = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
                self._addresses[signature] = place
            return self._addresses[signature]

    def _brought(self, signature: Signature, bring: Callable[[Code], Any]) -> Any:
        """What `bring` makes of code that was compiled before; None where there is none, or it makes nothing of it."""
        code = self._found(signature)
        if code is not None:
            try:
                return bring(code)
            except Exception:
                self._code[signature] = None  # of another Numba, perhaps, with the same number: compile it
        return None

    def code(self, signature: Signature) -> Code:
        """What it is compiled to, to be kept."""
        with global_compiler_lock:
            return self._found(signature) or _code_of(self._compiled(signature))

    def _found(self, signature: Signature) -> Code | None:
        """What an earlier process compiled, with the cells that it needs."""
        if signature not in self._code and signature not in self.dispatcher.overloads:
            self._code[signature] = self._shipped(signature) or self._kept(signature)
        return self._code.get(signature)

    def _shipped(self, signature: Signature) -> Code | None:
        archive = shipped.archive()
        return self._noted("shipped", archive.load(self.key(signature)) if archive else None)

    def _kept(self, signature: Signature) -> Code | None:
        return self._noted("kept", store.of_user().load(self._file, self._key(signature)))

    def _noted(self, origin: str, code: Code | None) -> Code | None:
        if code is not None:
            for name, kinds in code.needs:
                cell(name, pickle.loads(kinds))
            COUNTS[origin] += 1
            self.loaded += 1
        return code

    def _compiled(self, signature: Signature) -> Any:
        """What Numba compiled it to here."""
        if signature not in self.dispatcher.overloads:
            with notices.compiling(store.of_user().folder is not None):
                self.dispatcher.compile(signature)
            self.compiled += 1
            COUNTS["compiled"] += 1
            store.of_user().save(self._file, self._key(signature), _code_of(self.dispatcher.overloads[signature]))
        return self.dispatcher.overloads[signature]

    @property
    def _file(self) -> str:
        return self.name.removeprefix("fastconv.").replace(":", ".").replace("<locals>", "")

    def key(self, signature: Signature) -> str:
        """What names its code among that of one processor, compiler and version of the sources."""
        return f"{self.name} {signature}"

    def _key(self, signature: Signature) -> str:
        return f"{self.key(signature)} {store.processor()} {store.fingerprint()}"

    def of_python(self) -> Any:
        """The dispatcher that Python calls, which loads what is compiled without Numba's compiler being set up."""
        dispatcher = self.dispatcher
        dispatcher.typeof_pyval = _kind_of
        dispatcher._compile_for_args = self._called_first
        return dispatcher

    def _called_first(self, *args: Any) -> Any:
        """For Numba's dispatcher: the compiled function for arguments of types that it has not met."""
        signature, dispatcher = tuple(map(_kind_of, args)), self.dispatcher
        with global_compiler_lock:
            function = self._function(signature)
            if signature not in dispatcher.overloads:  # where Numba compiled it, it has put it there
                dispatcher._insert([kind._code for kind in signature], function, False)
            return function

    def function_of(self, *args: Any) -> Callable:
        """The compiled function for arguments of these types, which looks at none: for others it must not be called."""
        with global_compiler_lock:
            return self._function(tuple(map(_kind_of, args)))

    def _function(self, signature: Signature) -> Callable:
        """The compiled function for a signature, as Python calls it."""
        if signature not in self._functions:
            dispatcher = self.dispatcher
            function = self._brought(signature, lambda code: machine_code.callable_of(code, dispatcher.py_func))
            if function is None:
                dispatcher._compilation_chain_init_hook()
                function = self._compiled(signature).entry_point
            self._functions[signature] = function
        return self._functions[signature]


def _code_of(compiled: Any) -> Code:
    """What is kept of a result of Numba's."""
    library = compiled.library
    return Code(
        library._get_compiled_object(),
        compiled.fndesc.llvm_func_name,
        compiled.fndesc.llvm_cpython_wrapper_name,
        pickle.dumps(compiled.signature.return_type),
        tuple((one.name, pickle.dumps(one.signature)) for one in cells_of(library._final_module)),
        tuple(_environments(library._final_module)),
    )


def _environments(module: Any) -> Iterator[tuple[str, bytes]]:
    for place in module.global_variables:
        if place.name.startswith("_ZN08NumbaEnv"):
            environment = lookup_environment(place.name)
            # the cells are among the needs, and compiled code does not look at them
            objects = [None if isinstance(one, Need) else one for one in environment.consts] if environment else []
            yield place.name, dumps(objects)


def _kind_of(value: Any) -> types.Type:
    """The type of an argument, as Numba has it; of a plain array without what Numba imports for masked ones."""
    if type(value) is np.ndarray and value.dtype.kind in "biuf" and value.flags.aligned and value.dtype.isnative:
        kind = _number(value.dtype)
        return types.Array(kind, value.ndim, numpy_support.map_layout(value), readonly=not value.flags.writeable)
    return typeof(value, Purpose.argument)


@functools.cache
def _number(dtype: np.dtype) -> types.Type:
    return numpy_support.from_dtype(dtype)


def name_of(function: Any) -> str:
    """The name of a function's form: in another process the same one has the same."""
    return f"{function.__module__}:{function.__qualname__}"
