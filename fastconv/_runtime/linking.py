"""One text for Python and for users' jitted code, which calls what is compiled of it where that lies.

Numba links what compiled code calls into it and optimises all of it again: a second for each function that convolves.
Here kernels, and the functions that put them to use, are compiled apart, with fastconv's cache on disk, and reached
through a cell of memory for each of their signatures, whose address is a symbol of the process. A cell is filled when
it is first called through: what is never called is never compiled. Code that is loaded from a user's cache finds its
cells, since the cache keeps a `Need` of each with the code, and to read that makes the cell.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import infer_global, make_intrinsic_template

from fastconv._runtime.cache import checksum, fingerprint

FILL = "fastconv.fill"
_POINTER = ir.IntType(8).as_pointer()

_compiled_forms: dict[str, Callable[[], Any]] = {}
_cells: dict[str, _Cell] = {}
_cells_at: dict[int, _Cell] = {}


class _Cell:
    """Where the address of a function's code for one signature is, once it has been called."""

    def __init__(self, name: str, signature: tuple[types.Type, ...], symbol: str):
        self.name, self.signature, self.symbol = name, signature, symbol
        self._address = ctypes.c_void_p()
        llvmlite.binding.add_symbol(symbol, ctypes.addressof(self._address))
        _cells_at[ctypes.addressof(self._address)] = self

    def compiled(self) -> Any:
        """What the function is compiled to, here or in the process that left it in the cache."""
        dispatcher = compiled_form(self.name)
        if self.signature not in dispatcher.overloads:
            dispatcher.compile(self.signature)
        return dispatcher.overloads[self.signature]

    def fill(self) -> None:
        """Note where the code lies."""
        found = self.compiled()
        self._address.value = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)


def _cell(name: str, signature: tuple[types.Type, ...]) -> _Cell:
    symbol = f"fastconv.{name}.{checksum(repr(signature).encode()).hex()[:16]}"
    if symbol not in _cells:
        _cells[symbol] = _Cell(name, signature, symbol)
    return _cells[symbol]


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _fill(address: int) -> None:
    """For compiled code: fill the cell at an address."""
    cell = _cells_at[address]
    if isinstance(threading.current_thread(), threading._DummyThread):
        # a thread of the user's `prange`, whose stack may be too small for a compiler
        compiling = threading.Thread(target=cell.fill)
        compiling.start()
        compiling.join()
    else:
        cell.fill()


llvmlite.binding.add_symbol(FILL, ctypes.cast(_fill, ctypes.c_void_p).value)


class Need:
    """A cell that compiled code refers to; to read one back makes the cell."""

    def __init__(self, cell: _Cell):
        self.cell = cell

    def __reduce__(self) -> tuple[Callable, tuple[bytes, str, tuple[types.Type, ...]]]:
        name, signature = self.cell.name, self.cell.signature
        return _needed, (_stamp(name, signature), name, signature)


def _stamp(name: str, signature: tuple[types.Type, ...]) -> bytes:
    """What shows that a `Need` is of these sources, and that it is whole: another cell would call another function."""
    return checksum(f"{fingerprint()} {name} {signature}".encode())


def _needed(stamp: bytes, name: str, signature: tuple[types.Type, ...]) -> Need:
    if stamp != _stamp(name, signature):
        # Numba's cache looks at the user's file alone, and would go on with code for an older fastconv; of all errors
        # it takes this one for a file that is not there, and compiles again
        raise FileNotFoundError("compiled for other sources of fastconv, or damaged")
    return Need(_cell(name, signature))


def register(name: str, compiled: Callable[[], Any]) -> None:
    """Have `name` stand for what the dispatcher that `compiled()` gives is compiled to."""
    _compiled_forms[name] = functools.cache(compiled)


def compiled_form(name: str) -> Any:
    """The dispatcher of what is registered by a name."""
    if name not in _compiled_forms:
        importlib.import_module(name.partition(":")[0])
    return _compiled_forms[name]()


def link(function: Any, compiled: Callable[[], Any], result: types.Type | None = None) -> None:
    """Have jitted code that calls `function` call what is compiled of it, by the dispatcher that `compiled()` gives.

    Where the `result`'s type is told, nothing is compiled before it is called.
    """
    name = name_of(function)
    register(name, compiled)

    def typed(typingctx: Any, *args: Any) -> Any:
        kinds = tuple(types.unliteral(kind) for kind in args)
        callee = Callee(name, kinds, result)

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return callee.call(context, builder, cgutils.unpack_tuple(builder, values[0]) if kinds else [])

        return callee.result(types.StarArgTuple(kinds)), codegen

    infer_global(function, types.Function(make_intrinsic_template(function, typed, function.__name__)))


def name_of(function: Any) -> str:
    """By what a function is registered: in another process the same one has the same name."""
    return f"{function.__module__}:{function.__qualname__}"


class Callee:
    """A registered function for arguments of some types, as compiled code calls it through its cell.

    Attributes:
        kinds: the arguments' types.
        result: the result's type; found by compiling the function if it is not told.
    """

    def __init__(self, name: str, kinds: tuple[types.Type, ...], result: types.Type | None):
        self._cell, self.kinds = _cell(name, kinds), kinds
        self.result: Any = self._cell.compiled().signature.return_type if result is None else result

    def pointer(self, context: Any, builder: ir.IRBuilder) -> ir.Value:
        """Where its code lies; compiled code that finds an empty cell has it filled."""
        cell, convention = self._cell, context.call_conv
        context.get_env_manager(builder).add_const(Need(cell))
        place = declared(builder.module, cell.symbol)
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(place))):
            filling = ir.FunctionType(ir.VoidType(), [_POINTER])
            fill = cgutils.get_or_insert_function(builder.module, filling, FILL)
            builder.call(fill, [builder.bitcast(place, _POINTER)])
            with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(place))):
                # Python has shown the error; or the code was loaded without its needs, by another kind of cache
                convention.return_user_exc(builder, RuntimeError, (f"fastconv: {cell.name} could not be compiled",))
        kind = convention.get_function_type(self.result, self.kinds)
        return builder.bitcast(builder.load(place), kind.as_pointer())

    def call(self, context: Any, builder: ir.IRBuilder, values: list[ir.Value]) -> ir.Value:
        """Its result for these arguments; its error is the caller's."""
        status, value = self.call_at(context, builder, self.pointer(context, builder), values)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return value

    def call_at(self, context: Any, builder: ir.IRBuilder, pointer: ir.Value, values: list[ir.Value]) -> Any:
        """Whether it went wrong, and its result."""
        return context.call_conv.call_function(builder, pointer, self.result, self.kinds, values)


def declared(module: ir.Module, symbol: str) -> ir.Value:
    """A symbol of the process that holds an address, in a module that uses it."""
    if symbol not in module.globals:
        ir.GlobalVariable(module, _POINTER, symbol)
    return module.globals[symbol]
