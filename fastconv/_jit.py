"""The only place with Numba flags: the decorators of kernels and helpers, the cache policy, safe launches."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

from fastconv import _threads

# contract: a product and a sum may become one fused multiply-add; reassoc: a dot product may be summed in lanes.
# Never nnan or ninf: NaN and infinity are results that users may rely on.
FASTMATH = {"contract", "reassoc"}

# Elements that one thread gets through while a launch on threads would take place (measured: about 10 µs).
SERIAL_ELEMENTS = 2**16

# Set in a child process that was forked after the parent's first kernel: its thread pool is gone.
_forked = False
_launched = False
_one_at_a_time: contextlib.AbstractContextManager[Any] | None = None
_launching = threading.Lock()


PACKAGE = Path(__file__).parent


def kernel_sources() -> list[Path]:
    """The source files that compiled code may come from, with all that they import: not those of layers and above."""
    rooms = [*PACKAGE.glob("_*"), PACKAGE / "kernels", PACKAGE / "functional", PACKAGE / "errors.py"]
    return sorted(path for room in rooms for path in (room.rglob("*.py") if room.is_dir() else [room]))


def digest(sources: Iterable[Path]) -> str:
    """A digest of what is in source files (100 files: 2 ms)."""
    found = hashlib.sha256()
    for path in sources:
        found.update(path.read_bytes())
    return found.hexdigest()


@functools.cache
def _kernel_digest() -> str:
    """Numba's own key sees the file of one function only."""
    return digest(kernel_sources())


def fingerprint() -> str:
    """What compiled kernels depend on besides Numba's own key: their sources and the options of compilation."""
    return f"{_kernel_digest()} {numba.__version__} {numba.config.BOUNDSCHECK} {_serial_only()}"


class _KeyedFiles:
    """One file for each compiled signature, named by a digest of its whole key.

    Numba's index file maps signatures to numbered data files and is read, changed and written back without a lock:
    two processes that fill it at once can exchange each other's machine code. Without an index there is no such race.
    """

    def __init__(self, folder: str, base: str):
        self._folder, self._base = Path(folder), base

    def _path(self, key: object) -> Path:
        return self._folder / f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"

    def load(self, key: object) -> Any:
        try:
            stored, data = pickle.loads(self._path(key).read_bytes())
        except Exception:  # missing, truncated, or of another version: compile again
            return None
        return data if stored == repr(key) else None

    def save(self, key: object, data: Any) -> None:
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=self._base, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                pickle.dump((repr(key), data), file, protocol=-1)
            os.replace(name, self._path(key))
        except BaseException:
            os.unlink(name)
            raise

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*.nbc"):
            path.unlink(missing_ok=True)


class _PackageCache(FunctionCache):
    """Numba's disk cache with a key that covers the package's sources and the options of compilation.

    Never stale: an edited helper in another file changes the key. Never fatal: what cannot be read or written is
    compiled again.
    """

    def __init__(self, function: Callable, options: str):
        super().__init__(function)
        self._options = options
        self._cache_file = _KeyedFiles(self._cache_path, self._impl.filename_base)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        key = super()._index_key(sig, codegen)
        return (*key, self._options, fingerprint())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(Exception):
            super().save_overload(sig, data)


def _compiled(function: Callable, fastmath: bool, parallel: bool = False, inline: str = "never") -> Any:
    options = {"fastmath": FASTMATH if fastmath else False, "parallel": parallel, "inline": inline}
    dispatcher = numba.njit(function, error_model="numpy", nogil=True, **options)
    if not numba.config.DISABLE_JIT:
        # a read-only or home-less install has no folder for a cache: then every process compiles anew
        with contextlib.suppress(RuntimeError, OSError, AttributeError):
            dispatcher._cache = _PackageCache(function, f"fastmath={fastmath} parallel={parallel}")
    return dispatcher


def helper(function: Callable) -> Any:
    """Compile a serial function that kernels call; products may fuse and sums be reordered."""
    return _compiled(function, fastmath=True)


def inlined(function: Callable) -> Any:
    """Compile a `helper` as a part of each of its callers, for helpers around others.

    A call with a dozen arrays costs some 50 ns, mostly counting references; and each function in between is code for
    the tiles compiled once more.
    """
    return _compiled(function, fastmath=True, inline="always")


def strict_helper(function: Callable) -> Any:
    """Compile a serial function that kernels call, with IEEE order and NaN comparisons to the letter."""
    return _compiled(function, fastmath=False)


class Kernel:
    """A compiled function with a parallel form and a serial twin; calling it picks the one that is safe here.

    Attributes:
        function: the Python function itself.
        parallel: its compiled form with `prange` loops on threads.
        serial: its compiled form on the calling thread; also what other compiled code may call.
    """

    def __init__(self, function: Callable, fastmath: bool):
        functools.update_wrapper(self, function)
        self.function = function
        self.parallel = _compiled(function, fastmath, parallel=True)
        self.serial = _compiled(function, fastmath)

    def sized(self, elements: int) -> Callable:
        """The form for a loop over so many elements: few are done before threads would have started."""
        return self if elements >= SERIAL_ELEMENTS else self.serial

    def __call__(self, *args: Any) -> Any:
        if _forked or numba.config.DISABLE_JIT or _serial_only():
            return self.serial(*args)
        if not _launched:
            _launch()
        _threads.apply()
        if _one_at_a_time is None:
            return self.parallel(*args)
        with _one_at_a_time:
            return self.parallel(*args)


def kernel(function: Callable) -> Kernel:
    """Make a kernel whose products may fuse and whose dot products may be summed in lanes."""
    return Kernel(function, fastmath=True)


def strict_kernel(function: Callable) -> Kernel:
    """Make a kernel that keeps IEEE order and NaN comparisons to the letter (pooling needs them)."""
    return Kernel(function, fastmath=False)


@functools.cache
def _serial_only() -> bool:
    """FASTCONV_SERIAL=1 runs the serial twins, which NUMBA_BOUNDSCHECK=1 can check (it cannot inside `prange`)."""
    return os.environ.get("FASTCONV_SERIAL", "0") not in ("", "0")


def _launch() -> None:
    """Start Numba's threads and note whether its threading layer may be entered by two threads at once."""
    global _launched, _one_at_a_time
    from numba.np.ufunc.parallel import _launch_threads

    with _launching:
        if _launched:  # by another thread meanwhile, whose lock must stay the only one
            return
        _launch_threads()
        if numba.threading_layer() == "workqueue":
            # two threads inside the workqueue layer abort the process
            _one_at_a_time = threading.RLock()
        _launched = True


def _after_fork() -> None:
    # OpenMP kills, and workqueue hangs, a child that enters a parallel loop after its parent did
    global _forked, _launching
    _forked = _forked or _launched
    _launching = threading.Lock()  # another thread of the parent may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
