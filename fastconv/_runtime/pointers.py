"""Many arrays of any sizes in one kernel call: a table of their addresses, made anew only when an array is another one.

A tuple of arrays would have Numba compile a kernel anew for each number of them.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Sequence

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload


class Table:
    """The addresses of arrays, which it keeps alive.

    Attributes:
        addresses: (arrays,) int64.
    """

    def __init__(self) -> None:
        self.addresses = np.empty(0, np.int64)
        self._arrays: Sequence[np.ndarray] = ()

    def __getstate__(self) -> dict[str, object]:
        """Nothing: a copy of the table, or of what it belongs to, has other arrays elsewhere."""
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        """An empty table."""
        Table.__init__(self)

    def holds(self, arrays: Sequence[np.ndarray]) -> bool:
        """Whether the table is of just these arrays."""
        return len(arrays) == len(self._arrays) and all(map(operator.is_, arrays, self._arrays))

    def fill(self, arrays: Sequence[np.ndarray]) -> None:
        """Note where these arrays are; they are contiguous."""
        self.addresses = np.array([a.ctypes.data for a in arrays], np.int64)
        self._arrays = list(arrays)


@intrinsic
def _pointer(typingctx, address):  # type: ignore[no-untyped-def]
    """A pointer to an address."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), codegen


def array_at(address: int, size: int, like: np.ndarray) -> np.ndarray:
    """For kernels: the flat array of `size` elements of like's dtype at an address, which somebody keeps alive."""
    return numba.carray(ctypes.c_void_p(int(address)), size, like.dtype)


@overload(array_at, inline="always")
def _array_at(address, size, like):  # type: ignore[no-untyped-def]
    return lambda address, size, like: numba.carray(_pointer(address), size, like.dtype)


@intrinsic
def prefetch_write(typingctx, array, index):  # type: ignore[no-untyped-def]
    """For kernels: ask for array[index] to be written soon, which takes long if another core has read it."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, value=args[0]).data
        integer, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, integer, integer, integer])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(builder.gep(data, [args[1]]), pointer)
        write, keep, of_data = (ir.Constant(integer, value) for value in (1, 3, 1))
        builder.call(prefetch, [place, write, keep, of_data])
        return context.get_dummy_value()

    return types.void(array, types.uint64), codegen
