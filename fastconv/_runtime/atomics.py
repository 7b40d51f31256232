"""For kernels whose threads wait for each other: numbers that several write, and the parts of a recorded launch."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTES, _NUMBER = ir.IntType(8).as_pointer(), ir.IntType(64)
# what a core does while it waits: LLVM's names and their arguments
PAUSES = {"x86_64": ("llvm.x86.sse2.pause", ()), "aarch64": ("llvm.aarch64.hint", (1,))}


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
def pause(typingctx):  # type: ignore[no-untyped-def]
    """Leave the core to its other thread for a moment."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name, numbers = PAUSES.get(builder.module.triple.partition("-")[0].replace("arm64", "aarch64"), ("", ()))
        if name:
            given = [ir.Constant(ir.IntType(32), number) for number in numbers]
            kind = ir.FunctionType(ir.VoidType(), [number.type for number in given])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
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
        kind = ir.FunctionType(
            ir.VoidType(), [numbers[1].type, numbers[0].type, numbers[0].type, _BYTES]
        )
        function = builder.inttoptr(part, kind.as_pointer())
        builder.call(function, [numbers[1], numbers[0], numbers[0], builder.inttoptr(data, _BYTES)])
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen
