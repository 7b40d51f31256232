"""The cache of machine code on disk: never stale, never fatal, and no damaged code is run."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.misc.appdirs import AppDirs

PACKAGE = Path(__file__).parents[1]
CHECK_BYTES = hashlib.sha256().digest_size
LEFT_OVER = 3600.0  # seconds after which a file that is being written belongs to a process that was killed


def kernel_sources() -> list[Path]:
    """The files that compiled code may come from, with all that they import: not those of layers and above.

    Sources, or what Python compiled of them where a package has no sources, or the archive that it is in.

    Raises:
        FileNotFoundError: there is none of these, as in a program that holds its modules itself.
    """
    rooms = [*PACKAGE.glob("_*"), PACKAGE / "kernels", PACKAGE / "functional", *PACKAGE.glob("errors.*")]
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
    """Numba's own key sees the file of one function only."""
    try:
        return digest(kernel_sources())
    except OSError:
        return uuid.uuid4().hex  # another in each process: nothing is found again, so nothing is stale


@functools.cache
def serial_only() -> bool:
    """FASTCONV_SERIAL=1 runs kernels on the calling thread, as plain loops, which NUMBA_BOUNDSCHECK=1 can check."""
    return os.environ.get("FASTCONV_SERIAL", "0") not in ("", "0")


def fingerprint() -> str:
    """What compiled kernels depend on besides Numba's own key: their sources and the options of compilation."""
    versions = f"{numba.__version__} {llvmlite.__version__}"
    return f"{_kernel_digest()} {versions} {numba.config.BOUNDSCHECK} {serial_only()}"


def checksum(data: bytes | memoryview) -> bytes:
    """What shows that bytes are those that were written (1 MB: 0.6 ms)."""
    return hashlib.sha256(data).digest()


class KeyedFiles:
    """One file for each compiled signature, named by a digest of its whole key, with a checksum before its content.

    Numba's index file maps signatures to numbered data files and is read, changed and written back without a lock:
    two processes that fill it at once can exchange each other's machine code. Without an index there is no such race.
    Nothing of a file is looked at whose checksum is not right: a single bit may end the process.
    """

    def __init__(self, folder: str, base: str):
        self._folder, self._base = Path(folder), base

    def _path(self, key: str) -> Path:
        return self._folder / f"{self._base}.{hashlib.sha256(key.encode()).hexdigest()[:24]}.nbc"

    def load(self, key: object) -> Any:
        """What was saved with this key; None if that is not there, or damaged."""
        text = repr(key)
        try:
            content = self._path(text).read_bytes()
            if content[:CHECK_BYTES] != checksum(memoryview(content)[CHECK_BYTES:]):
                return None
            stored, data = pickle.loads(memoryview(content)[CHECK_BYTES:])
        except Exception:  # missing, or of another version: compile again
            return None
        return data if stored == text else None

    def save(self, key: object, data: Any) -> None:
        """Save data for the next process; whole or not at all."""
        text = repr(key)
        content = pickle.dumps((text, data), protocol=-1)
        self._remove_left_over()
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=self._base, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(checksum(content))
                file.write(content)
            os.replace(name, self._path(text))
        except BaseException:
            os.unlink(name)
            raise

    def _remove_left_over(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for path in self._folder.glob(f"{self._base}*.tmp"):
            with contextlib.suppress(OSError):  # another process is as fast
                if time.time() - path.stat().st_mtime > LEFT_OVER:
                    path.unlink()

    def flush(self) -> None:
        """Remove all of the function's files."""
        for path in self._folder.glob(f"{self._base}.*.nbc"):
            path.unlink(missing_ok=True)


class _WithoutSources(_CacheLocator):
    """A folder for a package without its sources, of .pyc files alone or in an archive; Numba's need the source."""

    def __init__(self, function: Callable, folder: Path):
        self._folder, code = folder, function.__code__
        self._name = f"{function.__module__}-{code.co_firstlineno}"

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> None:
        """Nothing: the key holds the digest of the whole package."""

    def get_disambiguator(self) -> str:
        return self._name

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> _WithoutSources | None:
        if os.path.exists(py_file) or not kernel_sources():
            return None
        own = cls.get_suitable_cache_subpath(str(PACKAGE / "module"))
        users = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir) / own
        asked = [Path(numba.config.CACHE_DIR) / own] if numba.config.CACHE_DIR else []
        for folder in (*asked, PACKAGE / "__pycache__", users):
            locator = cls(py_func, folder)
            with contextlib.suppress(OSError):
                locator.ensure_cache_path()
                return locator
        return None


class _Implementation(CompileResultCacheImpl):
    _locator_classes: ClassVar[list[type[_CacheLocator]]] = [_WithoutSources, *CompileResultCacheImpl._locator_classes]


class PackageCache(FunctionCache):
    """Numba's disk cache with a key that covers the package's sources and the options of compilation.

    Never stale: an edited helper in another file changes the key. Never fatal: what cannot be read or written is
    compiled again.
    """

    _impl_class = _Implementation

    def __init__(self, function: Callable, options: str):
        super().__init__(function)
        self._options = options
        self._cache_file = KeyedFiles(self._cache_path, self._impl.filename_base)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        key = super()._index_key(sig, codegen)
        return (*key, self._options, fingerprint())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save a compiled function, if that is possible."""
        with contextlib.suppress(Exception):
            super().save_overload(sig, data)
