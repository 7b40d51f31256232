"""One line on standard error while a program waits for the compiler, so that its users know what for."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

SECONDS = 1.0  # of compiling, before which it is not worth a line
TEXT = "fastconv: compiling kernels for this machine; {then} (FASTCONV_QUIET=1 hides this line)"

_quiet = os.environ.get("FASTCONV_QUIET", "0") not in ("", "0")
_began: float | None = None  # the outermost of the compilations that are under way
_spent = 0.0


@contextlib.contextmanager
def compiling(kept: bool) -> Iterator[None]:
    """While something is compiled, which later processes find `kept`."""
    global _began, _spent
    now, outermost = time.perf_counter(), _began is None
    if _began is None:
        _began = now
    if _spent + now - _began > SECONDS:
        say(TEXT.format(then="later runs will find them" if kept else "no folder is there to keep them"))
    try:
        yield
    finally:
        if outermost:
            _spent, _began = _spent + time.perf_counter() - now, None


def say(text: str) -> None:
    """Write the line, once in a process; a progress bar goes on below it."""
    global _quiet
    if not _quiet:
        _quiet = True
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stderr):
            sys.stderr.write(f"{text}\n")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No line inside the block, which says itself what it does."""
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before
