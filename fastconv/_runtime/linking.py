"""One text for Python and for users' jitted code, which calls what is compiled of it where that lies.

Numba links what compiled code calls into it and optimises all of it again: a second for each function that convolves.
Here kernels, and the functions that put them to use, are compiled apart, and reached through `cells`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import infer_global, make_intrinsic_template

from fastconv._runtime.cells import FILL, Need, Signature, cell
from fastconv._runtime.forms import Form

_POINTER = ir.IntType(8).as_pointer()


def link(function: Any, form: Form, result: types.Type | None = None) -> None:
    """Have jitted code that calls `function` call that form of it.

    Where the `result`'s type is told, nothing is compiled before it is called.
    """

    def typed(typingctx: Any, *args: Any) -> Any:
        kinds = tuple(types.unliteral(kind) for kind in args)
        callee = Callee(form, kinds, result)

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return callee.call(context, builder, cgutils.unpack_tuple(builder, values[0]) if kinds else [])

        return callee.result(types.StarArgTuple(kinds)), codegen

    infer_global(function, types.Function(make_intrinsic_template(function, typed, function.__name__)))


class Callee:
    """A function for arguments of some types, as compiled code calls it through its cell.

    Attributes:
        kinds: the arguments' types.
        result: the result's type; found by compiling the function if it is not told.
    """

    def __init__(self, form: Form, kinds: Signature, result: types.Type | None):
        self._cell, self.kinds = cell(form.name, kinds), kinds
        self.result: Any = form.result(kinds) if result is None else result

    def pointer(self, context: Any, builder: ir.IRBuilder) -> ir.Value:
        """Where its code lies; compiled code that finds an empty cell has it filled."""
        convention = context.call_conv
        context.get_env_manager(builder).add_const(Need(self._cell))
        place = declared(builder.module, self._cell.symbol)
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(place))):
            filling = ir.FunctionType(ir.VoidType(), [_POINTER])
            fill = cgutils.get_or_insert_function(builder.module, filling, FILL)
            builder.call(fill, [builder.bitcast(place, _POINTER)])
            with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(place))):
                # Python has shown the error; or the code was loaded without its needs, by another kind of cache
                convention.return_user_exc(
                    builder, RuntimeError, (f"fastconv: {self._cell.name} could not be compiled",)
                )
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


def _needed(*arguments: Any) -> None:
    """What users' caches of an earlier fastconv refer to: see `cells`, which has it now."""
    raise FileNotFoundError("compiled for another fastconv")
