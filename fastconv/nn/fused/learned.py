"""The gradients of a training step as one launch: forward, loss and backward recorded once, and made again.

As `recorded` has it for inference: the third step of a size is recorded. The fourth is computed both ways, with other
images, parameters and random draws; what was recorded is made again from the fifth on if both had the same bits.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence

import numpy as np

from fastconv._arguments.recycling import Arena
from fastconv._engine.launches import MOST_PARTS, Launches
from fastconv._engine.loss import mean
from fastconv._runtime.recording import Recording, before, recorded
from fastconv._runtime.threads import get_num_threads
from fastconv.kernels.elementwise import cross_entropy
from fastconv.nn.base import Backward, Buffer, Layer, Parameter
from fastconv.nn.fused.recordings import (
    CALLS_BEFORE,
    LEAST_LAUNCHES,
    Recordings,
    Unchanged,
    all_of,
    same,
    states,
)

RECORDED_FROM = CALLS_BEFORE + 3  # the batch of a size from which on it is not computed otherwise any more
LONGEST = 1.0  # seconds of a step, which Ctrl-C does not end before it is done

Forward = Callable[[np.ndarray], tuple[np.ndarray, Backward]]


def learned(
    recordings: Recordings[Learned] | None, layers: tuple[Layer, ...], x: np.ndarray, labels: np.ndarray,
    forward: Forward,
) -> float | None:  # fmt: skip
    """The mean cross-entropy with class ids, whose gradients are added to the parameters', where it is recorded.

    None, and nothing is done, where it is not: the layers' own way will do, or tell what is wrong.
    """
    if recordings is None:
        return None
    arena = recordings.arena

    def record() -> tuple[Learned | None, float | None]:
        return recorded_for(layers, x, labels, forward, arena)

    def use(found: Learned) -> float | None:
        return found.loss(x, labels, forward, arena)

    return recordings.result(layers, x, use, record, lambda: None)


def recorded_for(
    layers: Sequence[Layer], x: np.ndarray, labels: np.ndarray, forward: Forward, arena: Arena
) -> tuple[Learned | None, float | None]:  # fmt: skip
    """The recording of a step, and its loss; no recording where there is more to it than launches can do.

    No loss either, and nothing is done, where that is known before.
    """
    if get_num_threads() > MOST_PARTS or not learnable(layers, x.dtype) or not _stale(_states(layers)[0]):
        return None, None
    classes = _classes(layers, x.shape)
    if classes == 0 or not _in_range(labels, classes):
        return None, None
    batch, begin = Batch(x.copy(order="C"), labels.astype(np.int64), classes), time.perf_counter()
    with recorded(get_num_threads(), arena) as noted:
        loss = batch.learn(forward)
    if noted is None or not noted.whole or len(noted.steps) < LEAST_LAUNCHES:
        return None, loss
    return (Learned(layers, noted, batch) if time.perf_counter() - begin < LONGEST else None), loss


def learnable(layers: Sequence[Layer], dtype: np.dtype) -> bool:
    """Whether to try to record a step of layers: all are this package's, with numbers of a dtype."""
    return all(_fit(layer, dtype) for layer in all_of(layers))


class Batch:
    """Images, and what a step needs for their loss.

    Attributes:
        x: the images.
        ids: their class ids, (N,) int64.
        losses: of the images, (N,) float64.
        weights: of the classes, (N, K).
    """

    def __init__(self, x: np.ndarray, ids: np.ndarray, classes: int):
        self.x, self.ids, self.losses = x, ids, np.empty(len(x))
        self.weights = np.empty((len(x), classes), x.dtype)
        self._rows = np.arange(len(x))

    def learn(self, forward: Forward) -> float:
        """The loss, whose gradients are added to the parameters'."""
        logits, backward = forward(self.x)
        before(self._weigh)
        grad = np.empty_like(self.weights)
        cross_entropy(logits, self.weights, self.losses, grad)
        backward(grad)
        return mean(self.losses)

    def _weigh(self) -> None:
        self.weights.fill(0)
        self.weights[self._rows, self.ids] = 1


class Learned:
    """What was recorded of a step, for batches of one size."""

    def __init__(self, layers: Sequence[Layer], noted: Recording, batch: Batch):
        self._batch, self._launches, self._before, self._after = batch, Launches(noted), noted.before, noted.after
        self._unchanged = Unchanged(layers)
        self._parameters, self._buffers = _states(layers)
        self._trainable = [parameter.trainable for parameter in self._parameters]
        self._grads = [parameter.grad_array for parameter in self._parameters]
        self._counts = [buffer for buffer in self._buffers if buffer.value.ndim == 0]
        self._proved: bool | None = None  # whether another batch had the same bits as without it; None: not yet tried

    def loss(self, x: np.ndarray, labels: np.ndarray, forward: Forward, arena: Arena) -> float | None:
        """That of another batch, whose gradients are added to the parameters'.

        None, and nothing is done, where the layers, or how they compute it, are not what they were.
        """
        batch = self._batch
        if self._proved is False or not self._holds() or not _in_range(labels, batch.weights.shape[1]):
            return None
        batch.x[...], batch.ids[...] = x, labels
        if self._proved:
            return mean(batch.losses) if self._again() else None
        values = [buffer.value.copy() for buffer in self._buffers]
        if not self._again():
            return None
        found = self._found()
        for buffer, value in zip(self._buffers, values):
            buffer.value[...] = value
        for parameter in self._parameters:
            if parameter.trainable:  # what others hold is the user's
                parameter.zero_grad()
        unused = arena.unused()
        with arena.in_use():
            loss = batch.learn(forward)
        # of memory that the launches write to, nothing may be in use by others
        self._proved = all(map(same, found, self._found())) and unused <= arena.unused()
        return loss

    def _holds(self) -> bool:
        """Whether the layers have what they had, and no gradients."""
        return (
            self._unchanged.holds()
            and [parameter.trainable for parameter in self._parameters] == self._trainable
            and all(map(operator.is_, (parameter.grad_array for parameter in self._parameters), self._grads))
            and _stale(self._parameters)
        )

    def _again(self) -> bool:
        """Make it all again for the batch; False, and nothing is changed, where a launch was another one."""
        counts = [buffer.value.copy() for buffer in self._counts]  # of draws, which are made before
        for function in self._before:
            function()
        if not self._launches.again():
            for buffer, count in zip(self._counts, counts):
                buffer.value[...] = count
            return False
        for function in self._after:
            function()
        return True

    def _found(self) -> list[np.ndarray]:
        """A copy of what a step gives and changes."""
        grads = [parameter.grad for parameter in self._parameters if parameter.trainable]
        return [array.copy() for array in (self._batch.losses, *grads, *(buffer.value for buffer in self._buffers))]


def _states(layers: Sequence[Layer]) -> tuple[list[Parameter], list[Buffer]]:
    """The parameters and the buffers of all layers, each once."""
    found = {id(state): state for layer in all_of(layers) for state in states(layer)}.values()
    return [p for p in found if isinstance(p, Parameter)], [b for b in found if isinstance(b, Buffer)]


def _stale(parameters: Sequence[Parameter]) -> bool:
    """Whether no gradients have come in."""
    return all(parameter.stale or not parameter.trainable for parameter in parameters)


def _classes(layers: Sequence[Layer], shape: tuple[int, ...]) -> int:
    """How many classes the layers tell apart; 0 where their result is none of a classifier."""
    try:
        for layer in layers:
            shape = layer.output_shape(shape)
    except (ValueError, IndexError):  # computing them tells better what is wrong
        return 0
    return shape[1] if len(shape) == 2 else 0


def _in_range(labels: np.ndarray, classes: int) -> bool:
    return bool(labels.min() >= 0 and labels.max() < classes)


def _fit(layer: Layer, dtype: np.dtype) -> bool:
    """Whether it is a layer of this package, whose numbers are of a dtype."""
    arrays, own = [state.value for state in states(layer) if state.value.ndim], type(layer).__module__
    return own.startswith("fastconv.nn.") and all(a.dtype == dtype and a.flags.carray for a in arrays)
