"""A run of layers as a fused network for images of one shape: its plan, its parameters, and passes through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fastconv._arguments.arrays import ready
from fastconv._engine.loss import mean
from fastconv._engine.pieces import parts
from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.pointers import Table
from fastconv._runtime.recording import after
from fastconv._runtime.threads import get_num_threads
from fastconv.kernels.fused import network as kernels
from fastconv.kernels.fused import small_batch
from fastconv.kernels.fused.arrays import Batch, Network, Targets, Workspace
from fastconv.kernels.micro.vectors import LANES
from fastconv.kernels.updates import NO_RULE, Step
from fastconv.nn.base import Layer, Parameter
from fastconv.nn.fused.plan import plan
from fastconv.nn.fused.workspace import FEW, KEPT, PASSED, Lease, Memories, Memory

MULTIPLICATIONS_AT_ONCE = 16  # in the time that an element takes elsewhere


class Updater(Protocol):
    """An optimiser whose step the kernels can take."""

    def update_of(self, parameters: Sequence[Parameter], lr_factor: float, clip_value: float | None) -> Step | None:
        """The step of the parameters; None: not for these."""


class Program:
    """A run of layers for images of one shape.

    Attributes:
        shape: of an image.
        dtype: of the images.
        plan: what is computed.
        parameters: of the layers, in the plan's order.
        memories: what passes have left.

    Raises:
        Declined: the layers, or their sizes, are not computed this way.
    """

    def __init__(self, layers: Sequence[Layer], shape: tuple[int, ...], dtype: np.dtype):
        self.shape, self.dtype, self.plan = shape, dtype, plan(layers, shape, dtype)
        self.parameters, self.memories = self.plan.parameters, Memories(self.plan, dtype)
        self._empty, self._nothing = np.empty(0, dtype), np.zeros(self.plan.widest, dtype)
        self._no_step = Step(NO_RULE, np.empty((0, 0), np.int64), self._empty, self._empty)
        self._places, self._shapes = Table(), [parameter.value.shape for parameter in self.parameters]

    def ready(self) -> bool:
        """Note where the parameters and their gradients are; whether the kernels can compute with them."""
        parameters = self.parameters
        arrays = [parameter.value for parameter in parameters] + [parameter.grad_array for parameter in parameters]
        if self._places.holds(arrays):
            return True
        if any(a.dtype != self.dtype or not a.flags.carray for a in arrays):  # kernels write to them
            return False
        if any(a.shape != shape for a, shape in zip(arrays, self._shapes * 2)):
            return False
        self._places.fill(arrays)
        values, self._grads = np.split(self._places.addresses, 2)
        self._network = Network(self.plan.stages, self.plan.tables, values, self._nothing)
        return True

    def run_few(self, x: np.ndarray) -> np.ndarray:
        """The results for a batch of less than FEW_IMAGES images."""
        lease, y = self.memories.lease(FEW), np.empty((len(x), *self.plan.result_shape), self.dtype)
        forward = small_batch.forward_few.sized(len(x) * self.plan.multiplications // MULTIPLICATIONS_AT_ONCE)
        flat = ready(x, self.dtype).reshape(-1)
        forward(self._network, flat, lease.memory.arena, lease.memory.scratch, y.reshape(-1))
        return y

    def run(self, x: np.ndarray, keep: bool) -> tuple[np.ndarray, Lease]:
        """The results for a batch, and the memory that holds its activations where `keep`."""
        lease = self.memories.lease(KEPT, ceil_div(len(x), LANES)) if keep else self.memories.lease(PASSED)
        arena, scratch = lease.memory.arena, lease.memory.scratch[: get_num_threads()]
        y = np.empty((len(x), *self.plan.result_shape), self.dtype)
        flat, size = ready(x, self.dtype).reshape(-1), math.prod(self.shape)
        for part in parts(len(x), self.plan.multiplications, LANES):
            cells = arena[part.start // LANES :] if keep else arena
            images = flat[part.start * size : part.stop * size]
            kernels.forward(self._network, images, keep, cells, scratch, y[part].reshape(-1))
        return y, lease

    def backward(self, grad_y: np.ndarray, lease: Lease, need_x: bool) -> np.ndarray | None:
        """Add to the parameters' gradients; the gradient of the batch where it is needed."""
        grad_x = np.empty((len(grad_y), *self.shape) if need_x else 0, self.dtype)
        flat = ready(grad_y, self.dtype).reshape(-1)
        batch = Batch(self._empty, np.empty(0, np.int64), np.empty(0), flat)
        self._backward(lease.memory, batch, grad_x.reshape(-1), None)
        return grad_x if need_x else None

    def learn(self, x: np.ndarray, labels: np.ndarray, step: Step | None = None) -> float:
        """Add the gradients of the mean cross-entropy with the class ids to the parameters', and return it.

        With a step, the parameters are changed as well.
        """
        lease, losses = self.memories.lease(KEPT, ceil_div(len(x), LANES)), np.empty(len(x))
        flat, ids = ready(x, self.dtype).reshape(-1), ready(labels, np.dtype(np.int64))
        self._backward(lease.memory, Batch(flat, ids, losses, self._empty), self._empty, step)
        return mean(losses)

    def _backward(self, memory: Memory, batch: Batch, grad_x: np.ndarray, step: Step | None) -> None:
        grads, parameters = self._grads, self.parameters
        frozen = [i for i, parameter in enumerate(parameters) if not parameter.trainable]
        if frozen:
            grads = grads.copy()
            grads[frozen] = 0
        fresh = np.array([parameter.trainable and parameter.stale for parameter in parameters])
        kernels.backward(
            self._network, batch,
            Workspace(memory.arena, memory.scratch[: get_num_threads()], memory.patterns, memory.partial),
            self.plan.tasks, Targets(grads, fresh, step or self._no_step), grad_x,
        )  # fmt: skip
        after(self._begun)

    def _begun(self) -> None:
        """Note that gradients have come in."""
        for parameter in self.parameters:
            if parameter.trainable:
                parameter.begin()
