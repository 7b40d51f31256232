"""Calls from users' compiled code to helpers' machine code where it lies, instead of a copy of it in every function.

Numba links what compiled code calls into it and optimises all of it again: a second for each function that convolves.
Here the helpers, which have fastconv's cache on disk, are reached through a table of addresses, whose own address is
a symbol of the process. Code that is loaded from a user's cache finds its entries filled: the cache keeps a `Need` of
each with the code, and to read that fills the entry.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.cache import checksum, fingerprint

# a helper has one signature for each dtype that it is called with, the last standing for any other
DTYPES = (types.float32, types.float64, types.int64, types.uint64, types.none)
SYMBOL, SLOTS = "fastconv.helpers", 512

_table = (ctypes.c_void_p * SLOTS)()
llvmlite.binding.add_symbol(SYMBOL, ctypes.addressof(_table))
_helpers: list[Any] = []
_signatures: dict[int, tuple[types.Type, ...]] = {}


class Need:
    """An entry of the table that compiled code needs; to read one back fills it."""

    def __init__(self, slot: int):
        self.slot = slot

    def __reduce__(self) -> tuple[Callable, tuple[bytes, int, tuple[types.Type, ...]]]:
        signature = _signatures[self.slot]
        return _needed, (_stamp(self.slot, signature), self.slot, signature)


def _stamp(slot: int, signature: tuple[types.Type, ...]) -> bytes:
    """What shows that a `Need` is of these sources, and that it is whole: another slot would call another helper."""
    return checksum(f"{fingerprint()} {slot} {signature}".encode())


def _needed(stamp: bytes, slot: int, signature: tuple[types.Type, ...]) -> Need:
    if stamp != _stamp(slot, signature):
        # Numba's cache looks at the user's file alone, and would go on with code for an older fastconv; of all errors
        # it takes this one for a file that is not there, and compiles again
        raise FileNotFoundError("compiled for other sources of fastconv, or damaged")
    _filled(slot, signature)
    return Need(slot)


def _filled(slot: int, signature: tuple[types.Type, ...]) -> Any:
    """The compiled helper of an entry, which from now on holds its address."""
    if _signatures.setdefault(slot, signature) != signature:
        raise AssertionError(f"a helper has two signatures for one dtype: {_signatures[slot]}, {signature}")
    helper = _helpers[slot // len(DTYPES)]
    if signature not in helper.overloads:
        helper.compile(signature)
    compiled = helper.overloads[signature]
    _table[slot] = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return compiled


def linked(helper: Any) -> Any:
    """What compiled code calls `helper` by, with its arguments as one tuple.

    Precondition: the arguments' types follow from the dtype of the first array among them, or where there is none from
    the last one's type. Helpers are numbered in the order of these calls, which is that of the package's imports.
    """
    number = len(_helpers)
    if (number + 1) * len(DTYPES) > SLOTS:
        raise AssertionError(f"{number} helpers have no place in {SLOTS} slots")
    _helpers.append(helper)

    @intrinsic
    def call(typingctx: Any, args: Any) -> Any:
        kinds = tuple(types.unliteral(kind) for kind in args)
        decisive = next((kind.dtype for kind in kinds if isinstance(kind, types.Array)), kinds[-1])
        slot = number * len(DTYPES) + DTYPES.index(decisive if decisive in DTYPES else types.none)
        result = _filled(slot, kinds).signature.return_type

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            context.get_env_manager(builder).add_const(Need(slot))
            convention = context.call_conv
            pointer = convention.get_function_type(result, kinds).as_pointer()
            place = builder.gep(_address(builder.module), [ir.Constant(ir.IntType(64), slot)])
            function = builder.load(builder.bitcast(place, pointer.as_pointer()))
            with cgutils.if_unlikely(builder, cgutils.is_null(builder, function)):
                # code that was loaded without its needs, by a Numba that keeps its cache in another way
                convention.return_user_exc(builder, RuntimeError, ("fastconv: clear Numba's cache of this function",))
            status, value = convention.call_function(
                builder, function, result, kinds, cgutils.unpack_tuple(builder, values[0])
            )
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return value

        return result(types.Tuple(kinds)), codegen

    return call


def _address(module: ir.Module) -> ir.Value:
    cell = ir.IntType(8).as_pointer()
    if SYMBOL not in module.globals:
        ir.GlobalVariable(module, ir.ArrayType(cell, SLOTS), SYMBOL)
    return module.globals[SYMBOL].bitcast(cell.as_pointer())
