"""Numba's threads: started before the first launch, and entered by one thread at a time where they take no more."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba

from fastconv._runtime import forks, threads
from fastconv._runtime.launch import started as loop_found

# Whether Numba's threads have started, and the lock for a threading layer that takes one thread at a time.
started = False
one_at_a_time: contextlib.AbstractContextManager[Any] | None = None


def start() -> None:
    """Start Numba's threads and note whether its threading layer may be entered by two threads at once."""
    global started, one_at_a_time
    from numba.np.ufunc.parallel import _launch_threads

    with forks.launching:
        if started:  # by another thread meanwhile, whose lock must stay the only one
            return
        _launch_threads()
        loop_found(llvmlite.binding.address_of_symbol(forks.LOOP))
        forks.stay_alone_in_children()
        if numba.threading_layer() == "workqueue":
            # two threads inside the workqueue layer abort the process
            one_at_a_time = threading.RLock()
        started = True


def on_threads(entry: Callable, *args: Any) -> Any:
    """Call a kernel's entry for as many threads as are wanted now."""
    if not started:
        start()
    count, own = threads.threads_of_a_launch()
    if count == 1:
        return entry(1, *args)
    try:
        if one_at_a_time is None:
            return entry(count, *args)
        with one_at_a_time:
            return entry(count, *args)
    finally:
        if own != count:
            threads.put_back(own)


def _after_fork() -> None:
    global one_at_a_time
    one_at_a_time = None  # the layer is not entered any more, and another thread of the parent may be in it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
