"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open anywhere can be neither removed nor replaced
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def written_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes the place of `path` when the block ends, and vanishes if it fails.

    A process that is killed leaves its file behind, hidden; the next that writes to the same path removes it.
    """
    target = Path(path)
    # of one length, however long the name is
    start = f".{hashlib.sha256(target.name.encode(errors='surrogateescape')).hexdigest()[:16]}-"
    _remove_left_over(target.parent, start)
    part, file = _part(target.parent, start)
    try:
        with file:
            yield file
            file.flush()
            if fcntl:  # while it is locked: no other process takes it for left over
                os.replace(part, target)
        if not fcntl:
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _part(folder: Path, start: str) -> tuple[Path, BinaryIO]:
    """A new file, locked for as long as it is open."""
    while True:
        # not tempfile: its files are readable by their owner only, whatever the umask says
        part = folder / f"{start}{secrets.token_hex(8)}.part"
        file = part.open("xb")
        with contextlib.suppress(OSError):  # of a file system without locks, where nothing is removed either
            _lock(file)
        if os.fstat(file.fileno()).st_nlink:  # else it was removed before it was locked
            return part, file
        file.close()


def _remove_left_over(folder: Path, start: str) -> None:
    """Remove the files of processes that were killed while they wrote: those that no process holds locked."""
    for part in folder.glob(f"{start}*.part"):
        with contextlib.suppress(OSError):  # it is in use, or another process is as fast
            with part.open("r+b") as file:
                _lock(file, wait=False)
                if fcntl:
                    part.unlink()
            part.unlink(missing_ok=True)


def _lock(file: BinaryIO, wait: bool = True) -> None:
    """Lock a file until it is closed, by whatever end of the process; an OSError if it is locked, or cannot be."""
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def check_writeable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError now that `written_atomically(path)` would raise after an hour of training."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, a file name was needed")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}")
    with tempfile.TemporaryFile(dir=target.parent):
        pass
