"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes the place of `path` when the block ends, and vanishes if it fails."""
    target = Path(path)
    # not tempfile: its files are readable by their owner only, whatever the umask says
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def check_writeable(path: str | os.PathLike[str]) -> None:
    """Raise the OSError now that `written_whole(path)` would raise after an hour of training."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, a file name was needed")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}")
    with tempfile.TemporaryFile(dir=target.parent):
        pass
