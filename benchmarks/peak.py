"""The machine's peak: multiply-adds on vector registers alone, which no kernel can pass."""

from __future__ import annotations

import time

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

import fastconv
from fastconv._runtime.jit import strict_kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.micro import vectors

# A multiply-add takes 4 or 5 cycles and two start in each, so ten must be under way; with the two constants, twelve
# still fit the 16 registers of a machine without AVX-512.
VECTORS = 12
LANES = vectors.VECTOR_BYTES // 4
STEPS = 4_000_000


@intrinsic
def _multiply_adds(typingctx, start, steps):
    """A number that depends on VECTORS vectors, each after `steps` steps of v = v * 0.5 + 1."""
    signature = types.float32(types.float32, types.int64)

    def codegen(context, builder, signature, args):
        # vectors are written out here because LLVM prefers half as wide ones for loops on some AVX-512 machines
        vector = ir.VectorType(ir.FloatType(), LANES)
        half, one = (ir.Constant(vector, [value] * LANES) for value in (0.5, 1.0))
        declared = ir.FunctionType(vector, [vector] * 3)
        fmuladd = cgutils.get_or_insert_function(builder.module, declared, f"llvm.fmuladd.v{LANES}f32")
        slots = []
        for i in range(VECTORS):  # each starts elsewhere: equal ones would be computed once
            first = builder.fadd(args[0], ir.Constant(ir.FloatType(), float(i)))
            value = builder.insert_element(one, first, ir.Constant(ir.IntType(32), 0))
            slots.append(cgutils.alloca_once_value(builder, value))
        with cgutils.for_range(builder, args[1]):
            for slot in slots:
                builder.store(builder.call(fmuladd, [builder.load(slot), half, one]), slot)
        total = builder.load(slots[0])
        for slot in slots[1:]:
            total = builder.fadd(total, builder.load(slot))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return signature, codegen


@strict_kernel
def _work(team, steps, results):
    """Let each of `results.size` threads do `steps` steps; (T,) float32, one item a thread."""
    for t in prange(team, results.size):
        results[t] = _multiply_adds(np.float32(t), steps)


def peak_gflops(repeats: int = 5, steps: int = STEPS) -> float | None:
    """The multiplications and additions in float32 that the threads in use can do, in 1e9 a second.

    None where no vector instructions can be emitted: without the JIT.
    """
    if numba.config.DISABLE_JIT:
        return None
    results = np.empty(fastconv.get_num_threads(), np.float32)
    _work(1, results)
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        _work(steps, results)
        best = min(best, time.perf_counter() - begin)
    return 2 * LANES * VECTORS * steps * results.size / best / 1e9
