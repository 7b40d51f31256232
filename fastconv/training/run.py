"""A run of training: its data, where it stands, and what a callback sees of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fastconv.history import History
from fastconv.nn import Layer
from fastconv.optim import Optimizer

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]  # (x, labels)


@dataclass
class Position:
    """Where a run stands: enough, with the weights and the optimiser's state, to go on to the same bits.

    Attributes:
        epoch: epochs completed.
        step: steps taken in the current epoch.
        loss: sum of the losses of the images seen in it.
        images: how many those are.
        seconds: time spent so far.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    images: int = 0
    seconds: float = 0.0


@dataclass
class Run:
    """What a callback sees.

    Attributes:
        model: the model in training.
        optimizer: its optimiser.
        history: the epochs that are complete.
        position: where the run stands.
        steps_per_epoch: the number of batches.
        epochs: the number wanted.
        loss: the last batch's loss.
        epoch_ended: whether this call is the one at the end of an epoch (history has a new row) or after a step.
    """

    model: Layer
    optimizer: Optimizer
    history: History
    position: Position
    steps_per_epoch: int
    epochs: int
    loss: float = math.nan
    epoch_ended: bool = False


Callback: TypeAlias = Callable[[Run], bool | None]
