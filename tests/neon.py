"""The kernels as they are planned for NEON: run on x86 with vectors as wide, and compiled for aarch64, not run.

    python tests/neon.py

computes what `warmup` computes, with 128-bit vectors and the tiles of 32 registers, then compiles all of it for
aarch64, and looks for spills in the loops of the micro-kernels.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm

ROOT = Path(__file__).resolve().parents[1]
# x86 ignores NEON, and computes with vectors of its own that are as wide
ENVIRONMENT = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+neon", "FASTCONV_SHIPPED_CODE": "0"}
TRIPLE, CPU = "aarch64-unknown-linux-gnu", "neoverse-n1"
# what LLVM makes on x86 of counting a reference down to zero
COUNTED = """
define internal i8 @counted.cc.i64(ptr %place, i64 %count, i32 %condition) {
  %old = atomicrmw sub ptr %place, i64 %count seq_cst
  %zero = icmp eq i64 %old, %count
  %result = zext i1 %zero to i8
  ret i8 %result
}"""
MOST_SPILLS = 8  # one spill for so many multiply-adds costs next to nothing
MULTIPLY_ADDS = 8  # of vectors, in a loop that is a micro-kernel's


class Loop(NamedTuple):
    """An innermost loop of a function's code.

    Attributes:
        multiply_adds: of vectors.
        spills: loads and stores of vectors on the stack.
    """

    multiply_adds: int
    spills: int


def assembly(ir: str) -> str:
    """What LLVM makes of a module, of x86 so far, for aarch64."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=CPU, opt=3)
    ir = re.sub(r"declare i8 @llvm.x86.atomic.sub.cc.i64\(.*", COUNTED, ir).replace("@llvm.x86.atomic.sub", "@counted")
    ir = re.sub(r'target triple = ".*"', f'target triple = "{TRIPLE}"', ir)
    ir = re.sub(r'target datalayout = ".*"', f'target datalayout = "{machine.target_data}"', ir)
    return machine.emit_assembly(llvm.parse_assembly(ir))


def loops(text: str) -> Iterator[Loop]:
    """The innermost loops of some code: from a label to the branch back to it, without a label between."""
    lines = [line.strip() for line in text.splitlines()]
    last, at = 0, {}
    for number, line in enumerate(lines):
        if label := re.match(r"(\.L\w+):", line):
            at[label[1]], last = number, number
        elif (back := re.search(r"^(?:b\.\w+|cbn?z|tbn?z)\b.*(\.L\w+)$", line)) and at.get(back[1]) == last:
            body = lines[last:number]
            spilled = [line for line in body if re.match(r"(?:ldr|str|ldp|stp|ldur|stur)\s+q.*\[(?:sp|x29)", line)]
            yield Loop(sum(line.startswith("fmla") for line in body), len(spilled))


def kept() -> dict[str, str]:
    """The IR of everything that Numba compiles from now on, by its name, before it becomes code of this processor."""
    from numba.core.codegen import JITCodeLibrary

    modules: dict[str, str] = {}
    finalize = JITCodeLibrary._finalize_specific

    def noted(library: Any) -> None:
        modules[f"{library.name} {len(modules)}"] = str(library._final_module)
        finalize(library)

    JITCodeLibrary._finalize_specific = noted
    return modules


def main() -> int:
    """Compile everything for aarch64: 1 if a micro-kernel's loop spills."""
    modules = kept()
    import numpy as np

    from fastconv._warmup import run_part
    from fastconv.kernels.micro import vectors

    assert (vectors.VECTOR_BYTES, vectors.MANY_REGISTERS) == (16, True)
    run_part([np.dtype(np.float32).name], 0, 1)
    found, spilled = 0, []
    for name, ir in modules.items():
        for loop in loops(assembly(ir)):
            if loop.multiply_adds >= MULTIPLY_ADDS:
                found += 1
                spilled += [f"{name}: {loop}"] * (MOST_SPILLS * loop.spills > loop.multiply_adds)
    what = f"{len(modules)} modules compiled for {TRIPLE}, {found} loops of micro-kernels, {len(spilled)} spill"
    sys.stdout.write("\n".join([what, *spilled]) + "\n")
    return 1 if spilled or not found else 0


if __name__ == "__main__":
    if os.environ.get("NUMBA_CPU_FEATURES") != ENVIRONMENT["NUMBA_CPU_FEATURES"]:
        with tempfile.TemporaryDirectory() as cache:  # code that is found there has no IR
            own = os.environ | ENVIRONMENT | {"NUMBA_CACHE_DIR": cache}
            sys.exit(subprocess.run([sys.executable, *sys.argv], env=own, cwd=ROOT).returncode)
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
