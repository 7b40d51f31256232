"""The tiles fit the target that Numba compiles for, which need not be the machine at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
from fastconv.kernels.micro import vectors
print(vectors.VECTOR_BYTES, vectors.TILE_ROWS, vectors.DOT_ROWS)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}, "16 4 2"),
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}, "32 4 2"),
        ({"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+avx512f"}, "64 8 6"),
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,-avx512f"}, "32 4 2"),
        # as on aarch64: x86 ignores the feature, and computes with vectors of its own that are as wide
        ({"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+neon"}, "16 8 6"),
        # Numba then compiles without any feature, although none is named
        ({"NUMBA_CPU_NAME": "generic"}, "16 4 2"),
    ],
)
def test_width_and_rows_follow_the_target(target, expected):
    inherited = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**inherited, **target, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == expected.split(), done.stderr
