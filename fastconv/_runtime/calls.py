"""Kernels' calls of large helpers where they lie, instead of a copy in every kernel.

Numba links what compiled code calls into it and optimises all of it again, three times in parallel loops: half of the
time that a training step takes to compile. Here a kernel is given the addresses of helpers, which have their own cache.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def address_of(helper: Any, *arguments: types.Type) -> int:
    """The address of a helper without a result, compiled for arguments of these types."""
    if arguments not in helper.overloads:
        helper.compile(arguments)
    compiled = helper.overloads[arguments]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


@intrinsic
def call_at(typingctx, address, arguments):  # type: ignore[no-untyped-def]
    """For kernels: call the helper at an address of `address_of` with a tuple of arguments of just those types."""
    kinds = tuple(types.unliteral(kind) for kind in arguments)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        convention = context.call_conv
        pointer = convention.get_function_type(types.none, kinds).as_pointer()
        function = builder.inttoptr(values[0], pointer)
        parts = cgutils.unpack_tuple(builder, values[1])
        status, _ = convention.call_function(builder, function, types.none, kinds, parts)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.none(types.int64, types.Tuple(kinds)), codegen
