"""Runs of layers on batch-interleaved images: one kernel call forward, one backward (see `program`).

A batch goes in blocks of 16 images through all layers of a run, each block in one task, so that its activations stay in
the core's cache. This suits small networks and batches; where it does not, `Together` leaves the layers to `fusion`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TypeGuard

import numba
import numpy as np

from fastconv._arguments.arrays import numeric, promoted, same_shape
from fastconv.nn.base import Backward, Layer
from fastconv.nn.fused.chain import chained
from fastconv.nn.fused.groups import Declined
from fastconv.nn.fused.pairs import fused
from fastconv.nn.fused.program import Program, Updater
from fastconv.nn.fused.run import Run
from fastconv.nn.fused.workspace import FEW_IMAGES

LEAST_IMAGES = FEW_IMAGES
MOST_MULTIPLICATIONS = 2**21  # for one of a few images: more are worth several threads
PLANNED = ("weight", "bias", "options")  # attributes of layers that a program is made of
SIDE_BY_SIDE = "together, images side by side"
MOST_PROGRAMS = 8  # sizes of images that are remembered, with the memory for them


class Together(Run):
    """Neighbouring layers: on interleaved images where that is quicker, otherwise fused or one by one.

    Attributes:
        layers: the layers.
    """

    def __init__(self, layers: Sequence[Layer]):
        self.layers = tuple(layers)
        self._fused = fused(layers)
        self._programs: dict[tuple[tuple[int, ...], np.dtype], Program | str] = {}
        self._names = [(layer, name) for layer in layers for name in PLANNED if name in vars(layer)]
        self._planned: list[object] | None = None  # what was there under these names

    def __getstate__(self) -> dict[str, object]:
        """The layers: programs are of these parameters in this process."""
        return {"layers": self.layers}

    def __setstate__(self, state: dict[str, tuple[Layer, ...]]) -> None:
        """The layers, to plan anew."""
        Together.__init__(self, state["layers"])

    def declines(self, shape: tuple[int, ...], dtype: np.dtype) -> str:
        """Why images (N, ...) are not computed in the batch-interleaved layout; empty where they are."""
        found = self._program(tuple(shape), np.dtype(dtype))
        return found if isinstance(found, str) else ""

    def described(self, shape: tuple[int, ...], dtype: np.dtype) -> str:
        """How images of a shape are computed, for `summary`."""
        why = self.declines(shape, dtype)
        return f"each for itself, or with its neighbours ({why})" if why else SIDE_BY_SIDE

    def _program(self, shape: tuple[int, ...], dtype: np.dtype, least: int | None = None) -> Program | str:
        if numba.config.DISABLE_JIT:
            return "there is no JIT"
        if dtype not in (np.float32, np.float64):
            return f"{dtype} is neither float32 nor float64"
        least = LEAST_IMAGES if least is None else least
        if shape[0] < least:
            return f"{shape[0]} images are fewer than {least}"
        planned = [getattr(layer, name) for layer, name in self._names]
        if self._planned is None or not all(map(operator.is_, planned, self._planned)):  # something has been replaced
            self._programs, self._planned = {}, planned
        key = (shape[1:], dtype)
        if key not in self._programs:
            while len(self._programs) >= MOST_PROGRAMS:
                self._programs.pop(next(iter(self._programs)), None)
            try:
                self._programs[key] = Program(self.layers, shape[1:], dtype)
            except (Declined, ValueError) as error:
                self._programs[key] = str(error)
        found = self._programs[key]
        if isinstance(found, Program) and not found.ready():
            return f"the parameters are not all contiguous, writeable arrays of {dtype}"
        return found

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The last layer's result."""
        if plain(x) and x.ndim > 1:
            program = self._program(x.shape, x.dtype, 1)
            if isinstance(program, Program) and len(x) >= LEAST_IMAGES:
                return program.run(x, False)[0]
            if isinstance(program, Program) and len(x) < FEW_IMAGES:
                if program.plan.multiplications <= MOST_MULTIPLICATIONS:
                    return program.run_few(x)
        for step in self._fused:
            x = step(x)
        return x

    def forward(self, x: np.ndarray, need_x: bool = True) -> tuple[np.ndarray, Backward]:
        """The last layer's result, and the gradient; of the layers' parameters alone unless `need_x`."""
        program = self._program(x.shape, x.dtype) if plain(x) and x.ndim > 1 else ""
        if isinstance(program, str):
            return chained(self._fused, x, need_x)
        y, lease = program.run(x, True)
        shape = y.shape

        def backward(grad_y: np.ndarray) -> np.ndarray:
            same_shape("Sequential", "grad_output", numeric("Sequential", "grad_output", grad_y), shape)
            if promoted((grad_y.dtype, x.dtype)) != x.dtype:  # computed in the gradient's precision
                return chained(self._fused, x, need_x)[1](grad_y)
            return program.backward(grad_y, lease, need_x)  # type: ignore[return-value]

        return y, backward

    def learn(
        self, x: np.ndarray, labels: np.ndarray, optimizer: Updater | None, lr_factor: float, clip_value: float | None
    ) -> float | None:  # fmt: skip
        """The mean cross-entropy with class ids, its gradients added to the parameters'; None: not in one call.

        With an optimiser, its step is taken as well, or nothing is done.
        """
        program = self._program(x.shape, x.dtype)
        if isinstance(program, str) or len(program.plan.result_shape) != 1:
            return None
        ids = labels if labels.dtype.kind == "u" else labels.view(f"u{labels.itemsize}")  # negative ones are huge
        if ids.max() >= program.plan.result_shape[0]:
            return None
        update = optimizer.update_of(program.parameters, lr_factor, clip_value) if optimizer else None
        return None if optimizer and update is None else program.learn(x, labels, update)


def plain(x: object) -> TypeGuard[np.ndarray]:
    """Whether x is an array whose numbers may be taken as they are: the layers refuse others, as masked ones."""
    return type(x) is np.ndarray or (isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray))
