"""Compile what was asked for, for one level of processors: runs nothing of it, so the machine may have less."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable
from pathlib import Path

import fastconv._warmup  # all modules with kernels
from fastconv._runtime import cells, shipped
from fastconv._runtime.forms import Form
from fastconv._runtime.machine_code import Code


def compiled(wanted: Iterable[tuple[str, cells.Signature]]) -> dict[str, Code]:
    """The code of forms, and of all that they may call, by their keys."""
    assert fastconv._warmup
    found: dict[str, Code] = {}
    left = list(wanted)
    while left:
        name, signature = left.pop()
        form = cells.compiled_of(name)
        assert isinstance(form, Form)
        if form.key(signature) not in found:
            code = form.code(signature)
            found[form.key(signature)] = code
            left += [(need, pickle.loads(kinds)) for need, kinds in code.needs]
    return found


def blocks(codes: dict[str, Code]) -> list[dict[str, Code]]:
    """Code that is called by the same programs: of fused networks or not, in one dtype."""
    found: dict[tuple[bool, bool], dict[str, Code]] = {}
    for key, code in codes.items():
        kind = key.startswith("fastconv.kernels.fused"), "float64" in key and "float32" not in key
        found.setdefault(kind, {})[key] = code
    return list(found.values())


if __name__ == "__main__":
    asked, level, folder = sys.argv[1:]
    if shipped.level() != level:
        raise SystemExit(f"Numba compiles for {shipped.level()}, not for {level}")
    codes = compiled(pickle.loads(Path(asked).read_bytes()))
    shipped.write(Path(folder) / f"{level}.code", shipped.stamp(), blocks(codes))
    print(f"{level}: {len(codes)} functions, {(Path(folder) / f'{level}.code').stat().st_size:,} bytes")
