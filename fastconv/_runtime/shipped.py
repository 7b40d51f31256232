"""Machine code that comes with the package, for levels of what x86 processors can do.

An archive for each level holds what the public functions, layers and models call. It counts only for the very versions
of Python, Numba and llvmlite, and the very sources, that it was made of; anything else is compiled here, as is whatever
an archive lacks. `python -m fastconv._wheel` makes them, and wheels that hold them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import lzma
import os
import pickle
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import llvmlite.binding
import numba

from fastconv._runtime import store
from fastconv._runtime.host import HOST, features
from fastconv._runtime.machine_code import Code

_V2 = "64bit cmov crc32 cx16 cx8 fxsr mmx popcnt sahf sse sse2 sse3 sse4.1 sse4.2 ssse3"
_V3 = f"{_V2} avx avx2 bmi bmi2 f16c fma lzcnt movbe xsave"
_V4 = f"{_V3} avx512bw avx512cd avx512dq avx512f avx512vl"
# what processors of a level have, by LLVM's names (x86-64 psABI 1.0, section 3.1.1); the best first
LEVELS = {name: frozenset(have.split()) for name, have in (("x86-64-v4", _V4), ("x86-64-v3", _V3), ("x86-64-v2", _V2))}

FOLDER = store.PACKAGE / "machine_code"
MAGIC = b"fastconv machine code 1\n"


def level() -> str | None:
    """The best level that the target has, as Numba is told of it; None where it is no x86, or has less."""
    if llvmlite.binding.get_process_triple().partition("-")[0] != "x86_64":
        return None
    return next((name for name, have in LEVELS.items() if have <= features()), None)


def stamp() -> str:
    """What an archive of this package must have been made by, and for."""
    tile = HOST._replace(l1=0, l2=0)
    versions = f"{sys.implementation.cache_tag} {llvmlite.binding.get_process_triple()} {numba.config.OPT}"
    return f"{versions} {store.fingerprint()} {tile}"


def write(path: Path, made_by: str, blocks: Sequence[Mapping[str, Code]]) -> None:
    """Write an archive of code by its key, in blocks that are compressed as one: whole or not at all."""
    index, parts, at = {}, [], 0
    for block in blocks:
        entries = {key: pickle.dumps(block[key], protocol=5) for key in sorted(block)}
        part, place = lzma.compress(b"".join(entries.values()), preset=9), 0
        for key, entry in entries.items():
            index[_short(key)] = at, len(part), place, len(entry)
            place += len(entry)
        parts.append(part)
        at += len(part)
    head = json.dumps({"stamp": made_by, "index": index}).encode()
    content = struct.pack("<Q", len(head)) + head + b"".join(parts)
    store.write_whole(path, MAGIC + store.checksum(content) + content)


class Archive:
    """An archive that was read.

    Raises:
        ValueError: it is not whole, or was made by or for something else.
    """

    def __init__(self, path: Path, made_by: str):
        whole = memoryview(path.read_bytes())
        check, content = whole[len(MAGIC) :][: store.CHECK_BYTES], whole[len(MAGIC) + store.CHECK_BYTES :]
        if whole[: len(MAGIC)] != MAGIC or check != store.checksum(content):
            raise ValueError(f"{path} is not a whole archive")
        (length,) = struct.unpack_from("<Q", content)
        head = json.loads(bytes(content[8 : 8 + length]))
        if head["stamp"] != made_by:
            raise ValueError(f"{path} is of {head['stamp']}, not {made_by}")
        self._index, self._parts = head["index"], content[8 + length :]
        self._blocks: dict[int, memoryview] = {}

    def __len__(self) -> int:
        return len(self._index)

    def load(self, key: str) -> Code | None:
        """The code with a key; None if it has none, or none that can be read here."""
        with contextlib.suppress(Exception):
            at, size, place, length = self._index[_short(key)]
            if at not in self._blocks:
                self._blocks[at] = memoryview(lzma.decompress(self._parts[at : at + size]))
            return pickle.loads(self._blocks[at][place : place + length])
        return None


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:24]


@functools.cache
def archive() -> Archive | None:
    """The package's archive for this target; None where there is none, or FASTCONV_SHIPPED_CODE=0 forbids it."""
    wanted = level()
    if wanted is None or numba.config.DISABLE_JIT or os.environ.get("FASTCONV_SHIPPED_CODE", "1") in ("", "0"):
        return None
    try:
        return Archive(FOLDER / f"{wanted}.code", stamp())
    except Exception:  # none was shipped, or another one: compile
        return None
