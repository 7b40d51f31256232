"""Where compiled code is kept on disk: never stale, never fatal, and nothing damaged is looked at.

One file for each compiled signature, named by a digest of its whole key. An index, as Numba's, that two processes read,
change and write back at once would have them exchange each other's machine code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
from numba.misc.appdirs import AppDirs

PACKAGE = Path(__file__).parents[1]
COMPILED = ("_arguments", "_engine", "_geometry", "_overloads", "_plans", "_runtime", "functional", "kernels")
CHECK_BYTES = hashlib.sha256().digest_size
LEFT_OVER = 3600.0  # seconds after which a file that is being written belongs to a process that was killed


def kernel_sources() -> list[Path]:
    """The files that compiled code may come from, with all that they import: not those of layers and above.

    Sources, or what Python compiled of them where a package has no sources, or the archive that it is in.

    Raises:
        FileNotFoundError: there is none of these, as in a program that holds its modules itself.
    """
    rooms = [*(PACKAGE / name for name in COMPILED), *PACKAGE.glob("errors.*")]
    files = (path for room in rooms for path in (room.rglob("*") if room.is_dir() else [room]))
    found = [path for path in files if path.suffix in (".py", ".pyc") and path.parent.name != "__pycache__"]
    found = found or [path for path in PACKAGE.parents if path.is_file()]
    if not found:
        raise FileNotFoundError(f"no source of fastconv is found in {PACKAGE}")
    return sorted(found)


def digest(sources: Iterable[Path]) -> str:
    """A digest of what is in source files (100 files: 2 ms)."""
    found = hashlib.sha256()
    for path in sources:
        found.update(path.read_bytes())
    return found.hexdigest()


@functools.cache
def _kernel_digest() -> str:
    try:
        return digest(kernel_sources())
    except OSError:
        return uuid.uuid4().hex  # another in each process: nothing is found again, so nothing is stale


@functools.cache
def serial_only() -> bool:
    """FASTCONV_SERIAL=1 runs kernels on the calling thread, as plain loops, which NUMBA_BOUNDSCHECK=1 can check."""
    return os.environ.get("FASTCONV_SERIAL", "0") not in ("", "0")


def fingerprint() -> str:
    """What compiled code depends on besides the processor: its sources, the compiler, and the options."""
    versions = f"{numba.__version__} {llvmlite.__version__}"
    return f"{_kernel_digest()} {versions} {numba.config.BOUNDSCHECK} {serial_only()}"


@functools.cache
def processor() -> str:
    """What code is compiled for, as Numba takes it: the processor itself, unless it is told of another."""
    from numba.core.codegen import get_host_cpu_features

    name = numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    told = numba.config.CPU_FEATURES
    features = get_host_cpu_features() if told is None else told
    return f"{llvmlite.binding.get_process_triple()} {name} {features} {numba.config.OPT}"


def checksum(data: bytes | memoryview) -> bytes:
    """What shows that bytes are those that were written (1 MB: 0.6 ms)."""
    return hashlib.sha256(data).digest()


class Store:
    """Files with a checksum before their content, in the first of some folders that takes them.

    Args:
        folders: in the order in which they are asked; those that are not there, or cannot be written to, are passed by.
    """

    def __init__(self, folders: Iterable[Path]):
        self._folders = tuple(folders)

    def load(self, name: str, key: str) -> Any:
        """What was saved with this key; None if that is not there, or damaged."""
        for folder in self._folders:
            with contextlib.suppress(Exception):  # missing, or of another version: compile again
                content = self._path(folder, name, key).read_bytes()
                if content[:CHECK_BYTES] == checksum(memoryview(content)[CHECK_BYTES:]):
                    # a single wrong bit of machine code, or of a pickle, may end the process
                    stored, data = pickle.loads(memoryview(content)[CHECK_BYTES:])
                    if stored == key:
                        return data
        return None

    def save(self, name: str, key: str, data: Any) -> None:
        """Save data for the next process: whole or not at all, and where no folder can be written to, not at all."""
        content = pickle.dumps((key, data), protocol=-1)
        for folder in self._folders:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                self._write(self._path(folder, name, key), name, content)
                return

    @functools.cached_property
    def folder(self) -> Path | None:
        """Where it saves; None where no folder can be written to."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    return folder
        return None

    @staticmethod
    def _path(folder: Path, name: str, key: str) -> Path:
        return folder / f"{name}.{hashlib.sha256(key.encode()).hexdigest()[:24]}.nbc"

    @staticmethod
    def _write(path: Path, name: str, content: bytes) -> None:
        for left in path.parent.glob(f"{name}*.tmp"):  # of processes that were killed while they wrote
            with contextlib.suppress(OSError):  # another process is as fast
                if time.time() - left.stat().st_mtime > LEFT_OVER:
                    left.unlink()
        write_whole(path, checksum(content) + content, name)


def write_whole(path: Path, content: bytes, prefix: str = "") -> None:
    """Write a file under another name, and move it into place."""
    handle, written = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(written, path)
    except BaseException:
        os.unlink(written)
        raise


def folders() -> Iterator[Path]:
    """Where code is kept, as Numba keeps it: in the folder it is told of; else beside the sources, or in the user's."""
    own = f"fastconv-{hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:12]}"
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR) / own
        return
    yield PACKAGE / "__pycache__"
    yield Path(AppDirs(appname="numba", appauthor=False).user_cache_dir) / own


@functools.cache
def of_user() -> Store:
    """The store of this package's code."""
    return Store(folders())
