"""What can be switched off for the whole process, for Python and for compiled code."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from fastconv._runtime.linking import declared

# compiled code, which may come from another process, finds the switch by its name
WINOGRAD = "fastconv.winograd"
_winograd = ctypes.c_int64(os.environ.get("FASTCONV_WINOGRAD", "1") not in ("", "0"))
llvmlite.binding.add_symbol(WINOGRAD, ctypes.addressof(_winograd))


def winograd() -> int:
    """`Winograd.WHERE_FASTER` of plans, or `Winograd.NEVER`."""
    return _winograd.value


def switch_winograd(on: bool) -> None:
    """Have plans take Winograd's algorithm where it is faster, or never."""
    _winograd.value = on


@intrinsic
def _compiled_winograd(typingctx: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        place = declared(builder.module, WINOGRAD)
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))

    return types.int64(), codegen


@overload(winograd, inline="always")
def _winograd_compiled() -> Any:
    return lambda: _compiled_winograd()
