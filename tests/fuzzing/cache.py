"""The cache of machine code with bits flipped, filled by several processes, and of other sources, processors, versions.

One process imports everything and calls nothing; from it a child is forked for each case, which loads a damaged entry
and runs it, and may die. All of it is in a copy of the package with a cache of its own.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing import child
from fuzzing.hunt import Findings, Hunt

# Each with few kernels, which compile soon; a short run takes the first two.
CALLS: dict[str, Callable[[Any], np.ndarray]] = {
    "relu": lambda fastconv: fastconv.relu(np.arange(-9.0, 9.0)),
    "max_pool2d": lambda fastconv: fastconv.max_pool2d(np.arange(32).reshape(1, 2, 4, 4), 2),
    "im2col": lambda fastconv: fastconv.im2col(np.arange(32.0).reshape(1, 2, 4, 4), 2),
    "avg_pool2d": lambda fastconv: fastconv.avg_pool2d(np.arange(32.0).reshape(1, 2, 4, 4), 2),
    "linear": lambda fastconv: fastconv.linear(np.arange(32.0).reshape(2, 16), np.ones((3, 16))),
}
SHORT, LONG = 100, 2000
COMPILED = 50  # of so many cases one compiles what it did not find; the others end where they would begin to
SECONDS = 240.0  # a compilation on a busy machine
CALL = "import sys; from fuzzing import cache; cache.call(sys.argv[1:])"
DAMAGE = "import sys; from fuzzing import cache; cache.damage(sys.argv[1], *map(int, sys.argv[2:]))"
OTHER_NUMBA = "import numba; numba.__version__ = '0.1'\n"


class Refused(Exception):
    """An entry was not taken."""


def call(names: list[str]) -> None:
    """Make calls; say what they gave, which entries they loaded and which they saved."""
    import fastconv
    from fastconv._runtime.store import Store

    loaded, saved = [], []
    load, save = Store.load, Store.save

    def noted_load(self: Any, name: str, key: str) -> Any:
        found = load(self, name, key)
        if found is not None:
            loaded.append(str(self._path(self.folder, name, key)))
        return found

    def noted_save(self: Any, name: str, key: str, data: Any) -> None:
        save(self, name, key, data)
        saved.append(str(self._path(self.folder, name, key)))

    Store.load, Store.save = noted_load, noted_save  # type: ignore[method-assign]
    given = [_told(CALLS[name](fastconv)) for name in names]
    print(json.dumps({"given": given, "loaded": loaded, "saved": saved}))


def _told(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def damage(right: str, cases: int, seed: int) -> None:
    """Flip one bit of one entry after the other, load it in a child and run it if it is taken; a line for each."""
    from numba.core import dispatcher

    import fastconv
    import fastconv._overloads  # what a compilation would import, once for all

    def refuse(*arguments: object) -> None:
        raise Refused

    def work(name: str, compiles: bool) -> str:
        if not compiles:
            dispatcher._FunctionCompiler.compile = refuse
        try:
            return _told(CALLS[name](fastconv))
        except Refused:
            return "refused"
        except RuntimeError as error:  # what compiled code makes of it, that calls what is not there
            return "refused" if "could not be compiled" in str(error) else repr(error)

    rng, entries = np.random.default_rng(seed), json.loads(right)
    for number in range(cases):
        name = str(rng.choice(sorted(entries)))
        path = Path(rng.choice(entries[name]["loaded"]))
        whole = path.read_bytes()
        # anywhere, or in the headers at the beginning and the names at the end
        low, high = ((0, len(whole)), (0, min(2000, len(whole))), (max(0, len(whole) - 2000), len(whole)))[number % 3]
        place, bit = int(rng.integers(low, high)), int(rng.integers(8))
        print(
            f"seed {seed}, case {number}: {name}, bit {bit} of byte {place} of {len(whole)} in {path.name}", flush=True
        )
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        compiles = number % COMPILED == 0
        said = child.in_fork(lambda name=name, compiles=compiles: work(name, compiles), SECONDS)  # type: ignore[misc]
        print({entries[name]["given"][0]: "right"}.get(said, said[:300]), flush=True)
        path.write_bytes(whole)


class Copy:
    """A copy of the package, whose processes share a cache."""

    def __init__(self, root: Path):
        self.root, self.cache = root, root / "cache"
        ignored = shutil.ignore_patterns("__pycache__", "*.npz")
        shutil.copytree(child.TESTS.parent / "fastconv", root / "fastconv", ignore=ignored)

    def start(self, script: str, *arguments: object, **environment: str) -> Any:
        """A process that runs a script on the copy."""
        path = os.pathsep.join([str(self.root), str(child.TESTS)])
        own = {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(self.cache), "NUMBA_NUM_THREADS": "2", "FASTCONV_SERIAL": "0"}
        return child.start(script, *arguments, **(own | environment))

    def calls(self, *names: str, script: str = CALL, **environment: str) -> dict[str, Any]:
        """What a process says that makes these calls."""
        return json.loads(child.output(self.start(script, *names, **environment), SECONDS))

    def files(self) -> set[str]:
        """The names of all entries."""
        return {str(path) for path in self.cache.rglob("*.nbc")}


def _flipped(copy: Copy, names: list[str], cases: int, seed: int, findings: Findings) -> dict[str, Any]:
    right = {name: copy.calls(name) for name in names}
    for name in names:
        known = right[name]["given"]
        right[name] = copy.calls(name)
        assert right[name]["given"] == known and right[name]["loaded"] and not right[name]["saved"], right[name]
    process = copy.start(DAMAGE, json.dumps(right), cases, seed)
    lines = child.output(process, 60 + 5 * cases).splitlines()
    assert len(lines) == 2 * cases, lines[-3:]
    for number, (case, said) in enumerate(zip(lines[::2], lines[1::2])):
        with findings.case("flipped bit", case):
            assert said == ("right" if number % COMPILED == 0 else "refused"), said
    return right


def _filled_at_once(copy: Copy, count: int, names: list[str], right: dict[str, Any], findings: Findings) -> None:
    shutil.rmtree(copy.cache)
    processes = [copy.start(CALL, *names) for _ in range(count)]
    with findings.case("process that fills a cache with others", f"{count} processes"):
        findings.counts["process that fills a cache with others"] += count - 1
        for process in processes:
            said = json.loads(child.output(process, SECONDS))
            assert said["given"] == [right[name]["given"][0] for name in names], said
        after = copy.calls(*names)
        assert after["given"] == [right[name]["given"][0] for name in names], after
        assert after["loaded"] and not after["saved"], after
        assert not list(copy.cache.rglob("*.tmp"))


def _others(copy: Copy, name: str, right: dict[str, Any], findings: Findings) -> None:
    """Entries of this process's kind are there; those of another kind are not taken, nor written over."""
    there = copy.files()
    kinds: dict[str, dict[str, str]] = {
        "another processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        "another Numba": {"script": OTHER_NUMBA + CALL},
        "other sources": {},
    }
    for kind, options in kinds.items():
        with findings.case("foreign entry", kind):
            if kind == "other sources":  # the last: all that follow would be of these
                with (copy.root / "fastconv" / "kernels" / "shares.py").open("a") as source:
                    source.write("# another version\n")
            said = copy.calls(name, **options)
            assert said["given"] == right[name]["given"], said
            assert said["saved"] and not set(said["loaded"]) & there, said
            assert not set(said["saved"]) & there, said


def run(cases: int, seed: int, findings: Findings) -> None:
    """Flip so many bits; fill with two and four processes; look at what is of another kind."""
    names = list(CALLS)[:2] if cases <= SHORT else list(CALLS)
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        right = _flipped(copy, names, cases, seed, findings)
        for count in (4, 2):
            _filled_at_once(copy, count, names[:1], right, findings)
        _others(copy, names[0], right, findings)


HUNT = Hunt(
    promise="no entry of the cache is run that is damaged, or of other sources, another processor or another Numba",
    how="single bits of entries flipped, each loaded and run in a child that may die; two and four processes that fill"
    " an empty cache at once; entries of another kind beside",
    run=run,
    short=SHORT,
    long=LONG,
)
