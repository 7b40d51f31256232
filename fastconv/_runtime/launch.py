"""Kernels on threads: compiled once, and run by each thread for its own part of the `prange` loops.

Numba's parallel loops are compiled three times over: as a function of a part, as the wrapper of it, and as part of the
function they stand in; and once more for the calling thread alone. Here a kernel is one compiled function, which each
thread of a team calls (as in a parallel region of OpenMP). Its first argument `team` = (the thread's number, how many
they are), and its loops `for i in prange(team, n)` run over that thread's part of 0 ... n - 1. A team of one is the
calling thread alone. So both are the same code with the same bits, and jitted code calls it too.

What a kernel does outside of its `prange` loops every thread does for itself: it sets up what is its own, and writes to
nothing that others read. Where a loop needs what another has written, they are two kernels (see `jit.kernel_after`).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import infer_global, make_intrinsic_template
from numba.extending import intrinsic, overload

from fastconv._runtime.forms import Form
from fastconv._runtime.linking import Callee, declared

# what a kernel returns, by its annotation: nothing; whether all threads say so; the sum of what they count
RESULTS: dict[str, types.Type] = {"None": types.none, "bool": types.boolean, "int": types.int64}
TEAM = types.UniTuple(types.int64, 2)
ALONE = (0, 1)  # the calling thread

# where compiled code finds the function that runs a loop on threads: filled when the threads have started
LOOP = "fastconv.loop"
_loop = ctypes.c_void_p()
llvmlite.binding.add_symbol(LOOP, ctypes.addressof(_loop))

# the same for a launch that is recorded: filled with what records it
RECORDED = "fastconv.recorded_loop"
_recorded = ctypes.c_void_p()
llvmlite.binding.add_symbol(RECORDED, ctypes.addressof(_recorded))

_BYTES, _NUMBER = ir.IntType(8).as_pointer(), ir.IntType(64)


def prange(team: tuple[int, int], n: int) -> Iterable[Any]:
    """A thread's part of 0 ... n - 1, in a balanced partition among its team, as int64."""
    return map(np.int64, range(team[0] * n // team[1], (team[0] + 1) * n // team[1]))


@overload(prange, inline="always")
def _prange(team, n):  # type: ignore[no-untyped-def]
    return lambda team, n: range(team[0] * n // team[1], (team[0] + 1) * n // team[1])


def started(loop: int) -> None:
    """Note the address of the function that runs a loop on threads, which have started."""
    _loop.value = loop


def recorded_by(loop: int) -> None:
    """Note the address of the function that is called in place of that for launches that are recorded."""
    _recorded.value = loop


def loop_of_threads() -> int:
    """The address of the function that runs a loop on threads."""
    return _loop.value or 0


class Launched(ctypes.Structure):
    """How the data of a launch begins, behind which are the kernel's address and the arguments.

    Attributes:
        size: bytes of all.
        total: the address of what the threads count, or of those that say no.
        failures: the address of the number of those that failed.
        threads: how many parts there are.
    """

    _fields_ = (
        ("size", ctypes.c_int64), ("total", ctypes.c_void_p), ("failures", ctypes.c_void_p), ("threads", ctypes.c_int64)
    )  # fmt: skip


def link_kernel(kernel: Any, forms: Sequence[Form], result: types.Type) -> None:
    """Have jitted code that calls a kernel call its functions on the calling thread."""

    def typed(typingctx: Any, *args: Any) -> Any:
        kinds = tuple(types.unliteral(kind) for kind in args)
        callees = [Callee(form, (TEAM, *kinds), result) for form in forms]

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            parts = cgutils.unpack_tuple(builder, values[0])
            return _Launch(context, builder, callees, result, parts).alone()

        return result(types.StarArgTuple(kinds)), codegen

    infer_global(kernel, types.Function(make_intrinsic_template(kernel, typed, kernel.__name__)))


def launcher(forms: Sequence[Form], alone: Sequence[bool], result: types.Type) -> Any:
    """For compiled code: `launch(threads, arguments)` runs the functions of a kernel on a team of threads.

    Those that are to be `alone` run on the calling thread. Of -threads, all of it is run by what records launches.
    """

    @intrinsic
    def launch(typingctx, threads, arguments):  # type: ignore[no-untyped-def]
        kinds = tuple(types.unliteral(kind) for kind in arguments)
        callees = [Callee(form, (TEAM, *kinds), result) for form in forms]

        def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
            parts = cgutils.unpack_tuple(builder, values[1])
            return _Launch(context, builder, callees, result, parts).on(values[0], alone)

        return result(types.int64, types.Tuple(kinds)), codegen

    return launch


def entry_of(kernel: Callable, launch: Any) -> Callable:
    """The function (team_size, *arguments) that launches a kernel."""
    code = kernel.__code__
    arguments = ", ".join(code.co_varnames[1 : code.co_argcount])
    scope: dict[str, Any] = {"launch": launch, "__name__": kernel.__module__}
    exec(f"def entry(team_size, {arguments}): return launch(team_size, ({arguments},))", scope)
    entry: Callable = scope["entry"]
    entry.__qualname__ = f"{kernel.__qualname__}.entry"
    return entry


def _borrowed(context: Any, builder: ir.IRBuilder, kind: types.Type, value: ir.Value) -> ir.Value:
    """An argument whose arrays have no count of references: the caller holds them while a kernel runs.

    Each view of an array that is taken in a kernel would count, by an atomic operation on a number that all threads
    share (measured: planes in a loop, on two threads, took three times as long).
    """
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo, array.parent = (cgutils.get_null_value(part.type) for part in (array.meminfo, array.parent))
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        parts = zip(kind.types, cgutils.unpack_tuple(builder, value))
        return context.make_tuple(builder, kind, [_borrowed(context, builder, *part) for part in parts])
    return value


class _Launch:
    """The code of a launch, for the functions of a kernel and the values of its arguments.

    The total is of what the threads count, or of those that say no; where it is not 0, the functions that are left are
    not run.
    """

    def __init__(
        self, context: Any, builder: ir.IRBuilder, callees: list[Callee], result: types.Type, values: list[ir.Value]
    ):
        self._context, self._builder, self._callees, self._result = context, builder, callees, result
        kinds, self._nothing = callees[0].kinds[1:], ir.Constant(_NUMBER, 0)
        self._values = [_borrowed(context, builder, kind, value) for kind, value in zip(kinds, values)]
        self._total = cgutils.alloca_once_value(builder, self._nothing)

    def on(self, threads: ir.Value, alone: Sequence[bool]) -> ir.Value:
        """Run each of them on a team of threads, or on the calling thread where it has one, or is to be alone."""
        serial = dict(zip(self._callees, alone))
        builder, one = self._builder, ir.Constant(_NUMBER, 1)
        recorded = builder.icmp_signed("<", threads, self._nothing)
        team = builder.select(recorded, builder.neg(threads), threads)

        def run(callee: Callee) -> None:
            if not serial[callee]:
                self._on_threads(callee, team, recorded)
                return
            with builder.if_else(recorded) as (noted, here):
                with noted:
                    self._on_threads(callee, one, recorded)
                with here:
                    self._here(callee)

        with builder.if_else(builder.icmp_signed("==", threads, one)) as (single, several):
            with single:
                self.alone()
            with several:
                self._in_turn(run)
        return self.value()

    def alone(self) -> ir.Value:
        """Run them on the calling thread."""
        self._in_turn(self._here)
        return self.value()

    def _here(self, callee: Callee) -> None:
        builder = self._builder
        team = self._context.get_constant_generic(builder, TEAM, ALONE)
        counted = self._counted(builder, callee.call(self._context, builder, [team, *self._values]))
        if counted:
            builder.store(builder.add(builder.load(self._total), counted), self._total)

    def value(self) -> ir.Value:
        """What the kernel returns."""
        if self._result == types.none:
            return self._context.get_dummy_value()
        total = self._builder.load(self._total)
        return self._builder.icmp_signed("==", total, self._nothing) if self._result == types.boolean else total

    def _counted(self, builder: ir.IRBuilder, value: ir.Value) -> ir.Value | None:
        """What a thread adds to the total."""
        if self._result == types.none:
            return None
        return builder.zext(builder.not_(value), _NUMBER) if self._result == types.boolean else value

    def _in_turn(self, run: Callable[[Callee], None]) -> None:
        with contextlib.ExitStack() as nested:
            for callee in self._callees:
                run(callee)
                if self._result != types.none:
                    on = self._builder.icmp_signed("==", self._builder.load(self._total), self._nothing)
                    nested.enter_context(self._builder.if_then(on))

    def _on_threads(self, callee: Callee, threads: ir.Value, recorded: ir.Value) -> None:
        """What Numba makes of a parallel loop: void loop(function, places, counts, steps, data, 0, 1, threads).

        Each of its threads calls function(places, counts, steps, data) for some successive numbers: counts[0] of them,
        from places[0] on, which begins at a null pointer and goes on in steps of one byte.
        """
        builder, nothing = self._builder, self._nothing
        values = cgutils.pack_struct(builder, self._values)
        failures = cgutils.alloca_once_value(builder, nothing)
        pointer = callee.pointer(self._context, builder)
        parts = [self._nothing, self._total, failures, threads, pointer, values]
        packed = cgutils.pack_struct(builder, parts)
        size = ir.Constant(_NUMBER, self._context.get_abi_sizeof(packed.type))
        data = cgutils.alloca_once_value(builder, builder.insert_value(packed, size, 0))
        part = self._part(callee, data.type)
        place = cgutils.alloca_once_value(builder, ir.Constant(_BYTES, None))
        count = cgutils.alloca_once_value(builder, threads)
        step = cgutils.alloca_once_value(builder, ir.Constant(_NUMBER, 1))
        loop = ir.FunctionType(
            ir.VoidType(),
            [part.type, place.type, count.type, step.type, _BYTES, _NUMBER, _NUMBER, _NUMBER],
        )
        places = (declared(builder.module, symbol) for symbol in (RECORDED, LOOP))
        builder.call(
            builder.bitcast(builder.load(builder.select(recorded, *places)), loop.as_pointer()),
            [part, place, count, step, builder.bitcast(data, _BYTES), nothing, ir.Constant(_NUMBER, 1), threads],
        )
        with cgutils.if_unlikely(builder, builder.icmp_signed("!=", builder.load(failures), nothing)):
            # kernels raise nothing themselves; what a thread may lack is memory of its own
            self._context.call_conv.return_user_exc(
                builder, MemoryError, ("fastconv: a thread has no memory for its part",)
            )

    def _part(self, callee: Callee, data: ir.PointerType) -> ir.Function:
        """The function that Numba's threads call."""
        module = self._builder.module
        numbers = _NUMBER.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [_BYTES.as_pointer(), numbers, numbers, _BYTES])
        name = module.get_unique_name("fastconv.part")
        function = ir.Function(module, kind, name)
        function.linkage = "internal"
        builder = ir.IRBuilder(function.append_basic_block())
        places, counts, _, given = function.args
        _, total, failures, threads, pointer, values = cgutils.unpack_tuple(
            builder, builder.load(builder.bitcast(given, data))
        )
        first = builder.ptrtoint(builder.load(places), _NUMBER)
        with cgutils.for_range(builder, builder.load(counts)) as loop:
            team = cgutils.pack_array(builder, [builder.add(first, loop.index), threads])
            arguments = [team, *cgutils.unpack_tuple(builder, values)]
            status, value = callee.call_at(self._context, builder, pointer, arguments)
            with builder.if_else(status.is_error) as (failed, done):
                with failed:
                    builder.atomic_rmw("add", failures, ir.Constant(_NUMBER, 1), "monotonic")
                with done:
                    counted = self._counted(builder, value)
                    if counted:
                        builder.atomic_rmw("add", total, counted, "monotonic")
        builder.ret_void()
        return function
