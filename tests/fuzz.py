"""Calls of anything at all, each told on standard output before it is made: what kills the process is the last case.

Cases are descriptions, from which the arguments are made, so that a case that was told can be made again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import conftest  # noqa: F401  # the number of threads and Hypothesis's profile
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import fastconv

FUNCTIONS = {name: getattr(fastconv, name) for name in sorted(fastconv.functional.__all__)}
ARRAYS = (
    "x", "weight", "bias", "kernel", "grad_output", "cols", "indices", "y", "logits", "target", "out", "running_mean",
    "running_var", "mask",
)  # fmt: skip
SEEDS = st.sampled_from([0, 7, np.uint8(200), -1, 1.5, True, "0"])  # not None: each call would draw anew


@dataclass(frozen=True)
class OddArray:
    """An array that a function may or may not take."""

    shape: tuple[int, ...]
    dtype: str
    view: str
    seed: int

    def make(self) -> np.ndarray:
        array = np.random.default_rng(self.seed).integers(-2, 3, self.shape).astype(self.dtype)
        if self.view == "Fortran":
            return np.asfortranarray(array)
        if self.view == "reversed":
            return array[::-1] if array.ndim else array
        if self.view == "zero strides":
            return np.broadcast_to(array, (2, *array.shape)) if array.ndim < 4 else array
        array.flags.writeable = self.view != "read-only"
        return array


@dataclass(frozen=True)
class TorchLike:
    """What a tensor of another library looks like: convertible, but not an array."""

    shape = (1, 1, 4, 4)
    dtype = np.dtype(np.float32)
    ndim = 4

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.ones(self.shape, dtype)


ODD_NUMBERS = st.one_of(
    st.integers(-3, 9),
    st.sampled_from(
        [2**31 - 1, 2**31, 2**62, -(2**63), 2**64, np.uint8(200), np.int64(3), 1.5, np.nan, True, None, "2"]
    ),
)
ODD_SIZES = st.one_of(
    ODD_NUMBERS,
    st.tuples(ODD_NUMBERS, ODD_NUMBERS),
    st.lists(ODD_NUMBERS, max_size=4),
    st.tuples(st.tuples(ODD_NUMBERS, ODD_NUMBERS), st.tuples(ODD_NUMBERS, ODD_NUMBERS)),
    st.sampled_from(["same", "valid", "full", "same_upper", "", "NHWC", "rows", "numpy"]),
    st.lists(st.integers(0, 6), min_size=3, max_size=4).map(tuple),
)
SHAPE = st.one_of(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.lists(st.integers(0, 4), max_size=5)).map(
    tuple
)
ODD_ARRAYS = st.builds(
    OddArray,
    SHAPE,
    st.sampled_from(["f4", "f4", "f8", "f2", ">f4", "i8", "u1", "?", "c8", "O", "S2", "g"]),
    st.sampled_from(["as is", "Fortran", "reversed", "zero strides", "read-only"]),
    st.integers(0, 9),
)
JUNK = st.one_of(ODD_ARRAYS, ODD_ARRAYS, ODD_ARRAYS, st.sampled_from([None, [1.0], "x", 3, TorchLike()]))


def check(function: Callable, case: dict[str, Any]) -> None:
    """A ValueError, TypeError or MemoryError with a message, or what the NumPy reference says."""
    call = {name: value.make() if isinstance(value, OddArray) else value for name, value in case.items()}
    with np.errstate(all="ignore"):
        try:
            found = function(**call)
        except (ValueError, TypeError, MemoryError) as error:
            assert str(error).strip()
            return
        with fastconv.use_backend("numpy"):
            expected = function(**{**call, "out": None} if "out" in call else call)
    for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, expected))):
        scale = np.max(np.abs(b), where=np.isfinite(b), initial=1.0)  # of what may have cancelled out
        rtol = 1e-2 if getattr(a, "dtype", None) == np.float16 else 1e-5
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6 * scale)


@st.composite
def cases(draw: st.DrawFn, function: Callable) -> dict[str, Any]:
    """Arguments for a function: all that it needs, and some of the others."""
    case = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is inspect.Parameter.empty or draw(st.integers(0, 2)) == 0:
            others = SEEDS if parameter.name == "rng" else ODD_SIZES
            case[parameter.name] = draw(JUNK if parameter.name in ARRAYS else others)
    return case


def run(functions: dict[str, Callable]) -> None:
    """Fuzz the functions one after the other."""
    fastconv.set_num_threads(2)
    for name, function in functions.items():
        _fuzz(name, function)


def _fuzz(name: str, function: Callable) -> None:
    @given(cases(function))
    def one(case: dict[str, Any]) -> None:
        print(f"{name}({case})", flush=True)  # noqa: T201  # the parent reads it
        check(function, case)

    one()
