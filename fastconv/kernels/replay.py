"""Recorded launches made again, all by one team.

A launch on threads costs some microseconds, most of it until the threads are awake. Here a team is launched once and
goes through all of them. Threads do not wait for those that are still asleep: each part of a step is done by the
thread that takes it first, so that a team of which only one thread runs does all of it.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.atomics import count, read, rest, run_part, take
from fastconv._runtime.jit import strict_kernel

# columns of a step's row of the state: which parts are taken, how many are done, what they counted, how many failed
TAKEN, DONE, TOTAL, FAILED, COLUMNS = 0, 1, 2, 3, 8

PATIENCE = 2**14  # looks at what others have not done yet, some tens of microseconds


@strict_kernel
def replay(team, steps, state) -> bool:
    """Make launches again; False, with those behind it not made, where one counted something else or failed.

    Precondition: steps (launches, 4) int64: the addresses of the function and of its data, how many parts there are
    (at most 64), and what they counted; state, the address of (launches, COLUMNS) int64, all zeros, to whose columns
    the data refers.
    """
    me = np.int64(team[0])
    for step in range(len(steps)):
        part, data, parts, expected = steps[step, 0], steps[step, 1], steps[step, 2], steps[step, 3]
        row = np.int64(step * COLUMNS)
        for i in range(parts):
            place = (me + i) % parts
            if take(state, row + TAKEN, place):
                run_part(part, data, place)
                count(state, row + DONE)
        looked = 0
        while read(state, row + DONE) < parts:
            looked += 1
            if looked % PATIENCE == 0:
                rest()
        if read(state, row + TOTAL) != expected or read(state, row + FAILED) != 0:
            return False
    return True
