"""Calls of every public function and layer with arguments of any kind, in processes that may die."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from fastconv import nn
from fuzzing.hunt import Findings, Hunt

FUNCTIONS = {name: getattr(fastconv, name) for name in sorted(fastconv.functional.__all__)}
LAYERS: dict[str, Callable[[], nn.Layer]] = {
    "Conv2d": lambda: nn.Conv2d(2, 4, 3, padding=1, rng=0),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, 3, 3, rng=0),
    "Linear": lambda: nn.Linear(4, 3, rng=0),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "AvgPool2d": lambda: nn.AvgPool2d(2),
    "GlobalAvgPool2d": nn.GlobalAvgPool2d,
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "LeakyReLU": nn.LeakyReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Softmax": nn.Softmax,
    "Flatten": nn.Flatten,
    "Dropout": lambda: nn.Dropout(0.5, rng=0),
    "BatchNorm2d": lambda: nn.BatchNorm2d(2),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(3),
    "PartialConv2d": lambda: nn.PartialConv2d(np.eye(2, dtype=bool), 3, padding=1, rng=0),
    "Residual": lambda: nn.Residual(nn.Conv2d(2, 2, 3, padding=1, rng=0)),
    "Sequential": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
}
ARRAYS = (
    "x", "weight", "bias", "kernel", "grad_output", "cols", "indices", "y", "logits", "target", "out", "running_mean",
    "running_var", "mask",
)  # fmt: skip
NUMBERS = (0, 1, 1, 1, 2, 2, 3, 4, -1, 2**31, 2**62, -(2**63), np.uint8(200), np.int64(3), 1.5, np.nan, True, None, "2")
NAMES = (
    "same",
    "valid",
    "full",
    "same_upper",
    "same_lower",
    "NHWC",
    "NCHW",
    "rows",
    "cols",
    "unfold",
    "im2col",
    "",
    [],
)
DTYPES = ("f4",) * 8 + ("f8",) * 3 + ("f2", "f2", ">f4", ">f8", "i8", "i8", "u1", "?", "c8", "O", "S2", "g", "m8[s]")
FOREIGN = ("bfloat16", "float8_e5m2", "float8_e4m3fn", "float4_e2m1fn", "int4")
VALUES = (np.nan, np.inf, -np.inf, -0.0, 1e15, -1e-30)  # whose squares float32 can hold: the judge sums in it
DIES = 6  # deaths of processes after which a run is given up


class Subclass(np.ndarray):
    """A subclass whose operators do not mean what they should."""

    def __mul__(self, other: Any) -> Any:
        raise AssertionError("an operator of the caller's class was used")

    __rmul__ = __add__ = __radd__ = __sub__ = __getitem__ = __array_ufunc__ = __mul__  # type: ignore[assignment]


class Draw:
    """One case, made of its seed and its number alone."""

    def __init__(self, seed: int, number: int):
        self.rng = np.random.default_rng([seed, number])
        self.dtype = self.of(DTYPES)
        self.sizes = [int(n) for n in self.rng.integers(1, 6, 4)]

    def of(self, choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def shape(self) -> tuple[int, ...]:
        rank = self.of((4, 4, 4, 3, 2, 1, 0, 5))
        sizes = (self.sizes * 2)[:rank]
        kind = self.of(("same", "same", "same", "channels", "any"))
        if kind == "channels" and rank > 1:
            sizes[1] = 2
        if kind == "any":
            sizes = [int(n) for n in self.rng.integers(0, 5, rank)]
        return tuple(sizes)

    def array(self) -> Any:
        if self.rng.random() < 0.06:
            return self.of((None, [1.0], "x", 3, {}))
        dtype = self.dtype if self.rng.random() < 0.8 else self.of(DTYPES)
        a = self.rng.integers(-2, 3, self.shape())
        if self.rng.random() < 0.02:
            ml_dtypes = __import__("ml_dtypes")
            return a.astype(getattr(ml_dtypes, self.of(FOREIGN)))
        a = a.astype(dtype)
        if a.size and a.dtype.kind == "f" and self.rng.random() < 0.15:
            with np.errstate(all="ignore"):
                a.reshape(-1)[int(self.rng.integers(a.size))] = self.of(VALUES)
        view = self.of(("as is", "as is", "Fortran", "reversed", "strided", "read-only", "subclass"))
        if view == "Fortran":
            a = np.asfortranarray(a)
        elif view == "reversed" and a.ndim:
            a = a[::-1]
        elif view == "strided" and a.ndim:
            a = np.repeat(a, 2, -1)[..., ::2]
        elif view == "subclass":
            a = a.view(Subclass)
        a.flags.writeable = view != "read-only"
        return a

    def other(self, name: str) -> Any:
        if name == "rng":
            return self.of((0, 7, np.uint8(200), -1, 1.5, True, "0"))
        if name in ("layout", "mode", "order", "algorithm"):
            return self.of(NAMES) if self.rng.random() < 0.9 else np.ones(2)
        kind = self.of(("number", "number", "number", "pair", "four", "name", "shape", "bools", "array"))
        n = self.of
        if kind == "number":
            return n(NUMBERS)
        if kind == "array":
            return np.ones(2)
        return {
            "pair": (n(NUMBERS), n(NUMBERS)), "four": ((n(NUMBERS), n(NUMBERS)), (n(NUMBERS), n(NUMBERS))),
            "name": n(NAMES), "shape": self.shape(), "bools": (True, False, bool(n((0, 1)))),
        }[kind]  # fmt: skip

    def arguments(self, function: Callable) -> dict[str, Any]:
        case = {}
        for parameter in inspect.signature(function).parameters.values():
            needed = parameter.default is inspect.Parameter.empty
            if needed or self.rng.random() < (0.05 if parameter.name == "out" else 0.2):
                case[parameter.name] = self.array() if parameter.name in ARRAYS else self.other(parameter.name)
        return case


def plain(value: Any) -> Any:
    """A copy for the judge, which nothing of the call can change."""
    return np.array(value) if isinstance(value, np.ndarray) else value


def bits(value: Any) -> Any:
    return np.asarray(value).tobytes() if isinstance(value, np.ndarray) and value.dtype != object else None


def results(found: Any) -> list[Any]:
    return list(found) if isinstance(found, tuple) else [found]


def compare(found: list[Any], expected: list[Any], given: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        if one is None or isinstance(one, int | float):
            assert one is other or np.isclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True), f"{one}, not {other}"
            continue
        assert type(one) is np.ndarray or any(one is a for a in given), f"a {type(one).__name__} came back"
        assert one.dtype == other.dtype and one.shape == other.shape, (
            f"{one.dtype}{one.shape} {other.dtype}{other.shape}"
        )
        if one.dtype.kind not in "biuf" or one.dtype.itemsize > 8:  # a view of what is not computed with
            assert str(one.tolist()) == str(other.tolist())
            continue
        half = one.dtype == np.float16
        scale = max(1.0, float(np.max(np.abs(other), where=np.isfinite(other), initial=0.0)))
        np.testing.assert_allclose(one, other, rtol=1e-2 if half else 1e-4, atol=(1e-3 if half else 1e-5) * scale)


def judged(name: str, seed: int, number: int) -> str:
    """Make the case and judge it: how it ended."""
    draw = Draw(seed, number)
    if name in LAYERS:
        return _layer(name, draw)
    function = FUNCTIONS[name]
    case = draw.arguments(function)
    copies = {key: plain(value) for key, value in case.items()}
    before = {key: bits(value) for key, value in case.items()}
    try:
        found = results(function(**case))
    except (ValueError, TypeError, MemoryError) as error:
        return _named(name, error)
    changed = {"out"} | ({"running_mean", "running_var"} if copies.get("training") else set())
    assert all(bits(value) == before[key] for key, value in case.items() if key not in changed), "an input was changed"
    with fastconv.use_backend("numpy"):
        expected = results(function(**{**copies, "out": None} if "out" in copies else copies))
    compare(found, expected, list(case.values()))
    return "right"


def _layer(name: str, draw: Draw) -> str:
    x, layer, twin = draw.array(), LAYERS[name](), LAYERS[name]()
    before, copy = bits(x), plain(x)
    try:
        y, backward = layer.forward(x)
        inferred = layer(x)
    except (ValueError, TypeError, MemoryError) as error:
        return _named(name, error)
    g = draw.rng.integers(-2, 3, y.shape).astype(y.dtype)
    found = [y, inferred, backward(g)]
    with fastconv.use_backend("numpy"):
        y, backward = twin.forward(copy)
        expected = [y, twin(copy), backward(g)]
    compare(found, expected, [])
    assert bits(x) == before, "the input was changed"
    return "right"


def _named(name: str, error: BaseException) -> str:
    assert re.match(r"^[A-Za-z_0-9]+(\.\w+)?: \S", str(error)), f"{type(error).__name__} names nothing: {error}"
    return "an error that says what"


def child(cases: int, seed: int, first: int) -> None:
    """Judge the cases from `first` on, each told before it is made."""
    names = [*FUNCTIONS, *LAYERS]
    np.seterr(all="ignore")
    for number in range(first, cases):
        name = names[number % len(names)]
        print(f"case {number} {name}", flush=True)
        try:
            print(f"end {judged(name, seed, number)}", flush=True)
        except Exception as error:
            print(f"broken {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)
    print("finished", flush=True)


def run(cases: int, seed: int, findings: Findings) -> None:
    """Judge so many cases; a process that dies is a failure, after which another goes on."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join(map(str, (tests, tests.parent)))
    first = deaths = 0
    while first < cases and deaths < DIES:
        with tempfile.TemporaryFile("w+") as told:
            script = f"from fuzzing.calls import child; child({cases}, {seed}, {first})"
            status = subprocess.run(
                [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, stdout=told, check=False
            ).returncode
            told.seek(0)
            last = "none"
            for line in told.read().splitlines():
                kind, _, rest = line.partition(" ")
                if kind == "case":
                    last, first = rest, int(rest.split()[0]) + 1
                elif kind == "end":
                    findings.counts[rest] += 1
                elif kind == "broken":
                    findings.counts["broken"] += 1
                    findings.fail(f"seed {seed}, case {last}: {rest}")
        if first < cases or status:
            deaths += 1
            findings.fail(f"seed {seed}, case {last}: the process ended with {status}")


HUNT = Hunt(
    "A call of any public function or layer with any arguments is right, or an error that names what is wrong.",
    "Types, ranks, dtypes, views and values are drawn; judged by the NumPy backend, in processes that may die.",
    run,
    short=20_000,
    long=200_000,
)
