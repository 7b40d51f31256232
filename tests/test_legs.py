"""The kernels once more in two other forms: as plain Python, and as serial code that checks every index.

Plain Python raises on what compiled code reads or wraps in silence; the bounds check runs on the calling thread, whose
errors reach Python.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.process
@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_DISABLE_JIT": "1"}, {"FASTCONV_SERIAL": "1", "NUMBA_BOUNDSCHECK": "1"}],
    ids=["plain Python", "bounds checked"],
)
def test_leg(environment):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "legs", str(TESTS / "functional"), str(TESTS / "kernels")],
        cwd=TESTS.parent, env={**os.environ, "FASTCONV_TEST_PROFILE": "legs", **environment},
        capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 10


@pytest.mark.process
def test_the_bounds_check_is_on():
    """An index past the end must raise in the checked leg, or that leg tests nothing."""
    script = """
import numpy as np
from fastconv.kernels import elementwise
try:
    elementwise.relu(np.ones(4), np.ones(3))
except IndexError:
    print("checked")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=TESTS.parent,
        env={**os.environ, "FASTCONV_SERIAL": "1", "NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": str(TESTS.parent)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["checked"], done.stderr
