"""Instruction sets that libraries are told to keep to, and whether each does: to see one machine's choices on another.

Figures are then those of narrower vectors on this processor's caches and clock, which are not those of another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

AVX2, AVX512 = "avx2", "avx512"
ONEDNN = "import torch; torch.nn.functional.conv2d(torch.ones(1, 64, 56, 56), torch.ones(64, 64, 3, 3))"


class Switch(NamedTuple):
    """How a library is told.

    Attributes:
        environment: the variables, for AVX2; with AVX-512 they are removed.
        vectors: the instruction set that the library's own process finds in use.
    """

    environment: dict[str, str]
    vectors: Callable[[], str]


def _of_fastconv() -> str:
    from fastconv.config import facts

    return {512: AVX512, 256: AVX2}.get(facts()["vector_bits"], "another")


def _of_torch() -> str:
    """What ATen and oneDNN both use; oneDNN writes it when it first computes something."""
    import torch

    done = subprocess.run(
        [sys.executable, "-c", ONEDNN], env=os.environ | {"ONEDNN_VERBOSE": "1"}, capture_output=True, text=True
    )
    found = next((line.rpartition("isa:")[2] for line in done.stdout.splitlines() if ",cpu,isa:" in line), "unknown")
    onednn = AVX512 if "AVX-512" in found else AVX2 if "AVX2" in found else found
    aten = {"AVX512": AVX512, "AVX2": AVX2}.get(torch.backends.cpu.get_cpu_capability(), "another")
    return onednn if onednn == aten else f"{onednn} in oneDNN and {aten} in ATen"


SWITCHES = {
    "fastconv": Switch(
        {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+f16c,+popcnt"},
        _of_fastconv,
    ),
    "torch": Switch(
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}, _of_torch
    ),
}


def environment(library: str, isa: str | None) -> dict[str, str]:
    """The variables of a library's process.

    Raises:
        ValueError: the library has no switch, or none that can be checked.
    """
    if isa is None:
        return dict(os.environ)
    if library not in SWITCHES:
        raise ValueError(f"it cannot be told to keep to {isa}")
    own = SWITCHES[library].environment
    return {name: value for name, value in os.environ.items() if name not in own} | (own if isa == AVX2 else {})


def check(library: str, isa: str | None) -> None:
    """In the library's process: see that the switch took effect.

    Raises:
        OSError: it uses another instruction set.
    """
    if isa is not None and (found := SWITCHES[library].vectors()) != isa:
        raise OSError(f"it was told to keep to {isa}, and uses {found}")
