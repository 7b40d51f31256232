"""The state before the last training step with a finite loss, to go back to when a loss is not."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv._runtime.pointers import Table
from fastconv.kernels import elementwise
from fastconv.nn.base import Buffer, Parameter
from fastconv.optim.group import tasks
from fastconv.training.run import Run

TASK_BYTES = 2**14  # copied in one task: what one of an optimiser's tasks changes, so that the same core has it


class _Copies:
    """Arrays, and a copy of each that is renewed in one kernel call."""

    def __init__(self, arrays: list[np.ndarray]):
        self.arrays, self.copies = arrays, [array.copy(order="K") for array in arrays]
        self._from, self._to, self._byte = Table(), Table(), np.zeros(1, np.uint8)
        contiguous = [i for i, array in enumerate(arrays) if array.flags.c_contiguous]
        self._others = [i for i in range(len(arrays)) if i not in contiguous]
        self._from.fill([arrays[i] for i in contiguous])
        self._to.fill([self.copies[i] for i in contiguous])
        self._tasks = tasks([arrays[i].nbytes for i in contiguous], TASK_BYTES)

    def renew(self) -> None:
        """Copy the arrays as they are."""
        copy = elementwise.copy.sized(len(self._tasks) * TASK_BYTES)
        copy(self._to.addresses, self._from.addresses, self._tasks, self._byte)
        for i in self._others:
            np.copyto(self.copies[i], self.arrays[i])


class GoodState:
    """The state before the last step with a finite loss of a run (measured: 5 % of a LeNet-5 step)."""

    def __init__(self, run: Run):
        self.run = run
        optimizer = run.optimizer
        slots = [array for arrays in optimizer.slots.values() for array in arrays]
        state: list[Parameter | Buffer] = [*run.model.parameters(), *run.model.buffers()]
        self.arrays = [part.value for part in state] + slots
        self.good, self.candidate = _Copies(self.arrays), _Copies(self.arrays)
        self.steps = self.candidate_steps = optimizer.steps
        self.position = self.candidate_position = dataclasses.replace(run.position)

    def remember(self) -> None:
        """Note the state before a step, whose loss will tell whether it is good."""
        self.candidate.renew()
        self.candidate_steps = self.run.optimizer.steps
        self.candidate_position = dataclasses.replace(self.run.position)

    def approve(self) -> None:
        """Take the noted state for the good one."""
        self.good, self.candidate = self.candidate, self.good
        self.steps, self.position = self.candidate_steps, self.candidate_position

    def restore(self) -> None:
        """Go back to the good state."""
        for array, kept in zip(self.arrays, self.good.copies):
            np.copyto(array, kept)
        self.run.optimizer.steps = self.steps
        vars(self.run.position).update(vars(self.position))
        del self.run.history.rows[self.position.epoch :]
