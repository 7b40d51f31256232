"""Instructions and cache misses of a call, where the system's `perf_event_open` offers them: they hardly vary."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import struct
import sys
from collections.abc import Callable
from typing import Any

# (type, event) of linux/perf_event.h
EVENTS = {"instructions": (0, 1), "cache_misses": (0, 3)}
SYSCALL = {"x86_64": 298, "aarch64": 241}
SIZE = 112  # of perf_event_attr up to version 5
FLAGS_AT, FLAGS = 40, 1 << 5 | 1 << 6  # neither the kernel nor a hypervisor is counted


class Counter:
    """One event of this thread, counted from its beginning; `value` is what has been counted.

    Raises:
        OSError: the system does not offer it.
    """

    def __init__(self, kind: int, event: int):
        number = SYSCALL.get(platform.machine())
        if sys.platform != "linux" or number is None:
            raise OSError("no perf_event_open")
        attributes = bytearray(SIZE)
        struct.pack_into("IIQ", attributes, 0, kind, SIZE, event)
        struct.pack_into("Q", attributes, FLAGS_AT, FLAGS)
        pointer = (ctypes.c_char * SIZE).from_buffer(attributes)
        library = ctypes.CDLL(None, use_errno=True)
        self.file = library.syscall(number, pointer, 0, -1, -1, 0)
        if self.file < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")

    @property
    def value(self) -> int:
        """Events so far."""
        return struct.unpack("Q", os.read(self.file, 8))[0]

    def close(self) -> None:
        """Give the counter back."""
        os.close(self.file)


@functools.cache
def offered() -> tuple[str, ...]:
    """The events that can be counted here; none in most virtual machines and containers."""
    found = []
    for name, event in EVENTS.items():
        with contextlib.suppress(OSError):
            Counter(*event).close()
            found.append(name)
    return tuple(found)


def counted(event: tuple[int, int], call: Callable[[], Any], calls: int = 5) -> int:
    """The fewest events of one call on this thread."""
    counter = Counter(*event)
    try:
        found = []
        for _ in range(calls):
            before = counter.value
            call()
            found.append(counter.value - before)
        return min(found)
    finally:
        counter.close()
