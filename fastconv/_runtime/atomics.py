"""For kernels whose threads wait for each other: numbers that several write, and the parts of a recorded launch."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._runtime.linking import declared

_BYTES, _NUMBER = ir.IntType(8).as_pointer(), ir.IntType(64)

# where compiled code finds the system's function by which a thread rests, if there is one
REST = "fastconv.rest"
_rest = ctypes.c_void_p()
llvmlite.binding.add_symbol(REST, ctypes.addressof(_rest))
with contextlib.suppress(AttributeError, OSError, TypeError):
    _rest.value = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value


def _at(builder: ir.IRBuilder, address: ir.Value, index: ir.Value) -> ir.Value:
    return builder.gep(builder.inttoptr(address, _NUMBER.as_pointer()), [index])


@intrinsic
def take(typingctx, address, index, bit):  # type: ignore[no-untyped-def]
    """Set a bit of the number (int64) at address[index]; whether it was not set before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        mask = builder.shl(ir.Constant(_NUMBER, 1), args[2])
        before = builder.atomic_rmw("or", _at(builder, *args[:2]), mask, "seq_cst")
        return builder.icmp_signed("==", builder.and_(before, mask), ir.Constant(_NUMBER, 0))

    return types.boolean(types.int64, types.int64, types.int64), codegen


@intrinsic
def count(typingctx, address, index):  # type: ignore[no-untyped-def]
    """Add one to the number at address[index]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.atomic_rmw("add", _at(builder, *args), ir.Constant(_NUMBER, 1), "seq_cst")
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def read(typingctx, address, index):  # type: ignore[no-untyped-def]
    """The number at address[index], which another thread may have written."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_at(builder, *args), "seq_cst", 8)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def rest(typingctx):  # type: ignore[no-untyped-def]
    """Let another thread have the processor, where there are more threads than processors."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        function = builder.load(declared(builder.module, REST))
        with cgutils.if_likely(builder, cgutils.is_not_null(builder, function)):
            builder.call(builder.bitcast(function, kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def run_part(typingctx, part, data, place):  # type: ignore[no-untyped-def]
    """Call what a thread calls for the part `place` of a launch: part(places, counts, steps, data)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        part, data, place = args
        one = ir.Constant(_NUMBER, 1)
        numbers = builder.alloca(_NUMBER), builder.alloca(_BYTES)
        builder.store(one, numbers[0])
        builder.store(builder.inttoptr(place, _BYTES), numbers[1])
        kind = ir.FunctionType(ir.VoidType(), [numbers[1].type, numbers[0].type, numbers[0].type, _BYTES])
        function = builder.inttoptr(part, kind.as_pointer())
        builder.call(function, [numbers[1], numbers[0], numbers[0], builder.inttoptr(data, _BYTES)])
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen
