"""NumPy's own loops of exp, log and tanh for compiled code: the bits of Python, and vectorised as libm's are not.

A ufunc holds the addresses of its loops, one for each dtype (`PyUFuncObject` of NumPy's C API), which NumPy chose for
this processor when it was imported. Compiled code finds them in a table whose own address is a symbol of the process,
as in `linking`: code from a cache on disk holds no address of another process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

STACK_SIZE = 256  # elements; 2 KiB of float64
SYMBOL = "fastconv.numpy_loops"
UFUNCS = (np.exp, np.log, np.tanh)
DTYPES: dict[types.Type, np.dtype] = {types.float32: np.dtype(np.float32), types.float64: np.dtype(np.float64)}

# of one argument: (addresses of the argument and the result, how many elements, bytes from one to the next, data)
_Loop = ctypes.CFUNCTYPE(
    None, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_ssize_t), ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.c_void_p,
)  # fmt: skip


class _UFunc(ctypes.Structure):
    """The beginning of PyUFuncObject."""

    _fields_ = (
        ("header", ctypes.c_byte * object.__basicsize__),
        *((name, ctypes.c_int) for name in ("inputs", "outputs", "arguments", "identity")),
        *((name, ctypes.POINTER(ctypes.c_void_p)) for name in ("loops", "data")),
        ("dtypes", ctypes.c_int),
    )


def _loop(ufunc: np.ufunc, dtype: np.dtype) -> tuple[int, int]:
    """The address of a ufunc's loop for a dtype, and of its data."""
    held, i = _UFunc.from_address(id(ufunc)), ufunc.types.index(f"{dtype.char}->{dtype.char}")
    if (held.inputs, held.outputs, held.arguments, held.dtypes) == (1, 1, 2, len(ufunc.types)) and held.loops[i]:
        return held.loops[i], held.data[i] or 0
    loop = _python_loop(ufunc, dtype)
    _kept.append(loop)
    return ctypes.cast(loop, ctypes.c_void_p).value or 0, 0


def _python_loop(ufunc: np.ufunc, dtype: np.dtype) -> Any:
    """The same through Python, which is slower: for a NumPy whose ufuncs have another memory layout."""

    def loop(addresses: Any, count: Any, steps: Any, data: Any) -> None:
        size = count[0] * dtype.itemsize
        x, y = (np.frombuffer((ctypes.c_byte * size).from_address(addresses[i]), dtype) for i in (0, 1))
        with np.errstate(all="ignore"):
            ufunc(x, out=y)

    return _Loop(loop)


_kept: list[Any] = []
_entries = [entry for ufunc in UFUNCS for dtype in DTYPES.values() for entry in _loop(ufunc, dtype)]
_table = (ctypes.c_void_p * len(_entries))(*_entries)
llvmlite.binding.add_symbol(SYMBOL, ctypes.addressof(_table))


def _in_place(ufunc: np.ufunc) -> Callable[[np.ndarray, int, int], None]:
    """For kernels: a[start : start + n] = ufunc of it. Precondition: a flat and contiguous, float32 or float64."""

    def apply(a: np.ndarray, start: int, n: int) -> None:
        ufunc(a[start : start + n], out=a[start : start + n])

    @intrinsic
    def call(typingctx: Any, a: Any, start: Any, n: Any) -> Any:
        entry = 2 * (len(DTYPES) * UFUNCS.index(ufunc) + list(DTYPES).index(a.dtype))

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            integer, byte = ir.IntType(64), ir.IntType(8).as_pointer()
            if SYMBOL not in builder.module.globals:
                ir.GlobalVariable(builder.module, ir.ArrayType(byte, len(_entries)), SYMBOL)
            table = builder.module.globals[SYMBOL].bitcast(byte.as_pointer())
            loop, data = (builder.load(builder.gep(table, [ir.Constant(integer, entry + i)])) for i in (0, 1))
            array = context.make_array(signature.args[0])(context, builder, values[0])
            place = builder.bitcast(builder.gep(array.data, [values[1]]), byte)
            places, steps = (cgutils.alloca_once(builder, kind, size=2) for kind in (byte, integer))
            for i in (0, 1):
                builder.store(place, builder.gep(places, [ir.Constant(integer, i)]))
                builder.store(array.itemsize, builder.gep(steps, [ir.Constant(integer, i)]))
            count = cgutils.alloca_once_value(builder, values[2])
            pointers = [byte.as_pointer(), integer.as_pointer(), integer.as_pointer(), byte]
            function = builder.bitcast(loop, ir.FunctionType(ir.VoidType(), pointers).as_pointer())
            builder.call(function, [places, count, steps, data])
            return context.get_dummy_value()

        return types.none(a, types.int64, types.int64), codegen

    @overload(apply, inline="always")
    def _apply(a, start, n):  # type: ignore[no-untyped-def]
        return lambda a, start, n: call(a, start, n)

    return apply


exp, log, tanh = map(_in_place, UFUNCS)


def stack_array(like: np.ndarray) -> np.ndarray:
    """For kernels: STACK_SIZE elements of like's dtype, without content, that last as long as the function's call."""
    return np.empty(STACK_SIZE, like.dtype)


@intrinsic
def _on_stack(typingctx: Any, like: Any) -> Any:
    kind = types.Array(like.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        item = context.get_data_type(like.dtype)
        array = context.make_array(kind)(context, builder)
        step, size = (context.get_constant(types.intp, n) for n in (context.get_abi_sizeof(item), STACK_SIZE))
        data = cgutils.alloca_once(builder, item, STACK_SIZE)
        context.populate_array(array, data=data, shape=[size], strides=[step], itemsize=step, meminfo=None)
        return array._getvalue()

    return kind(like), codegen


@overload(stack_array, inline="always")
def _stack_array(like):  # type: ignore[no-untyped-def]
    return lambda like: _on_stack(like)
