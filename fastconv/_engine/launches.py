"""Recorded launches, to be made again with one."""

from __future__ import annotations

import numpy as np

from fastconv._runtime.launch import Launched
from fastconv._runtime.recording import Recording, aligned
from fastconv.kernels.replay import COLUMNS, FAILED, TOTAL, replay

MOST_PARTS = 64


class Launches:
    """What a recording has noted; making it again reads and writes the same arrays.

    Attributes:
        made: how many there are.
    """

    def __init__(self, recording: Recording):
        steps = recording.steps
        self.made, self._kept = len(steps), (recording.kept, recording.arena, [step.data for step in steps])
        self._state = aligned(self.made * COLUMNS * 8).view(np.int64)
        self._steps = np.empty((self.made, 4), np.int64)
        for row, step in enumerate(steps):
            head = Launched.from_address(step.data.ctypes.data)
            cells = self._state.ctypes.data + row * COLUMNS * 8
            head.total, head.failures = cells + TOTAL * 8, cells + FAILED * 8
            self._steps[row] = step.part, step.data.ctypes.data, step.threads, step.counted
        self._address = self._state.ctypes.data

    def again(self) -> bool:
        """Make them again; False, and not all are made, where one found other than when it was recorded."""
        self._state.fill(0)
        return bool(replay(self._steps, self._address))
