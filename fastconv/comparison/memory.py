"""How much memory a process has had."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes() -> int | None:
    """The most memory that this process has had at a time; None where the system does not tell.

    Linux keeps `VmHWM` for the program that runs now. Its `ru_maxrss` begins with what the process had that started
    this one, and after a large one shows nothing of what is to be measured.
    """
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    except OSError:
        found = None
    if found:
        return 1024 * int(found[1])
    if not importlib.util.find_spec("resource"):
        return None
    resource = importlib.import_module("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
