"""What a process that is forked needs: no lock that another thread held, and loops that start no threads.

A child has only the thread that forked. A lock that another thread of the parent held is never released in it: Numba's
compiler would wait for good. And the threads that run `prange` loops are gone: OpenMP ends such a child, and Numba's
own layer hangs. So a process forks between two compilations, and in the child the code that the parent compiled for
threads runs its loops on the calling thread, with nothing to compile.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir

# The longest that a fork waits for a lock. A compilation takes some seconds; two threads that wait for each other, as
# one that forks while it imports what the other needs to compile, would wait for good.
PATIENCE = 300.0
LOOP = "numba_parallel_for"  # the function by which compiled code runs a loop on threads

launching = threading.RLock()
forked = False  # whether this process was forked from one that had started Numba's threads
_alone = ctypes.c_int64(0)  # the same for compiled code
_held = threading.local()
_engines: list[Any] = []


def locks() -> Iterator[Any]:
    """The locks of Numba, LLVM and fastconv, in the order in which a thread takes them."""
    from llvmlite.binding import ffi
    from numba.core.compiler_lock import global_compiler_lock
    from numba.np.ufunc import parallel

    yield global_compiler_lock._lock
    yield launching
    yield parallel._backend_init_thread_lock
    yield ffi.lib._lock._lock


def threads_started() -> bool:
    """Whether Numba's threads run in this process, or did in the one it was forked from."""
    try:
        numba.threading_layer()
    except ValueError:
        return False
    return True


def stay_alone_in_children() -> None:
    """Have loops that are linked from now on look whether they are in a forked child; Numba's threads have started.

    What stands between is `void loop(function, args, dims, steps, data, ...)`: all of a loop's parts are
    `function(args, dims, steps, data)`, of which Numba's threads take some each.
    """
    if not hasattr(os, "register_at_fork"):
        return
    pointer, number = ir.IntType(8).as_pointer(), ir.IntType(64)
    parts = ir.FunctionType(ir.VoidType(), [pointer] * 4)
    loop = ir.FunctionType(ir.VoidType(), [pointer] * 5 + [number] * 3)
    module = ir.Module("fastconv.forks")
    module.triple = llvmlite.binding.get_process_triple()
    function = ir.Function(module, loop, "fastconv.parallel_for")
    builder = ir.IRBuilder(function.append_basic_block())

    def at(address: int | None, kind: ir.Type) -> ir.Value:
        return builder.inttoptr(ir.Constant(number, address), kind.as_pointer())

    alone = builder.icmp_signed("!=", builder.load(at(ctypes.addressof(_alone), number)), ir.Constant(number, 0))
    with builder.if_else(alone) as (on_this_thread, on_all):
        with on_this_thread:
            builder.call(builder.bitcast(function.args[0], parts.as_pointer()), function.args[1:5])
        with on_all:
            builder.call(at(llvmlite.binding.address_of_symbol(LOOP), loop), function.args)
    builder.ret_void()
    machine = llvmlite.binding.Target.from_triple(module.triple).create_target_machine(jit=True)
    engine = llvmlite.binding.create_mcjit_compiler(llvmlite.binding.parse_assembly(str(module)), machine)
    engine.finalize_object()
    _engines.append(engine)  # the code lives as long as its engine
    llvmlite.binding.add_symbol(LOOP, engine.get_function_address(function.name))


def _before() -> None:
    _held.locks = []
    with contextlib.suppress(ImportError, AttributeError):  # of a Numba that keeps them elsewhere
        for lock in locks():
            if lock.acquire(timeout=PATIENCE):
                _held.locks.append(lock)


def _after() -> None:
    while _held.locks:
        _held.locks.pop().release()


def _after_in_child() -> None:
    global forked
    forked = forked or threads_started()
    _alone.value = forked
    _after()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
