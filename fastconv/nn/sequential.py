"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from fastconv._runtime.backend import on_numpy
from fastconv.nn.base import Backward, Layer, Parameter, array_of
from fastconv.nn.fused.chain import chained
from fastconv.nn.fused.interleaved import SIDE_BY_SIDE, Together, plain
from fastconv.nn.fused.learned import RECORDED_FROM, Learned, learnable, learned
from fastconv.nn.fused.program import Updater
from fastconv.nn.fused.recorded import Recorded, inferred, recordable
from fastconv.nn.fused.recordings import CALLS_BEFORE, LEAST_LAUNCHES, Owned, Recordings
from fastconv.nn.fused.run import Run, layers_of
from fastconv.nn.fused.steps import together
from fastconv.nn.naming import named


class Sequential(Layer):
    """Layers applied one after another; indexing gives a layer, slicing another Sequential of the same layers.

    In inference the results of an image have the same bits in every batch of 8 images or more; in one of fewer the last
    bits may differ (measured: by 5e-7 of the largest result in float32), as other kernels add the same products in
    another order. A batch of the same size gives the same bits. An error inside a layer names its index and kind.

    Args:
        layers: any objects with `forward(x)` that returns (y, backward), derived from `Layer`.

    Example:
        >>> from fastconv.nn import Flatten, Linear
        >>> model = Sequential(Flatten(), Linear(4, 2, rng=0))
        >>> model(np.zeros((3, 1, 2, 2), np.float32)).shape, len(model)
        ((3, 2), 2)
    """

    def __init__(self, *layers: Layer):
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: layer {i} must be a Layer, got {type(layer).__name__}")
        self.layers = layers

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in order."""
        return self._layers

    @layers.setter
    def layers(self, layers: Iterable[Layer]) -> None:
        self._layers = tuple(layers)
        self._together = together(self._layers)
        self._recordings: Recordings[Recorded] = Recordings()
        self._learnings: Owned[Learned] = Owned()

    def _steps(self) -> Sequence[Layer]:
        return self.layers if on_numpy() else self._together

    def parts(self) -> Sequence[Layer]:
        """The runs of layers that are computed together."""
        return self._steps() if type(self) is Sequential else (self,)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The last layer's result."""
        x = array_of(self, "x", x)
        if on_numpy() or type(self) is not Sequential:
            return self._in_steps(x)
        return inferred(self._recordings, self._layers, x, self._in_steps)

    def _in_steps(self, x: np.ndarray) -> np.ndarray:
        steps, done = self._steps(), 0
        try:
            for step in steps:
                x = step(x)
                done += 1
        except Exception as error:
            named(error, steps, done, np.shape(x))
            raise
        return x

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The last layer's result, and the function that carries a gradient back through all layers."""
        return self._chained(x, True)

    def forward_from_data(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """As `forward`, for an x that is data: the first layer does not compute the gradient of its input.

        The gradient may be taken once: memory that the layers have kept for it is used again on the way.
        """
        return self._chained(x, False, once=True)

    def _chained(self, x: np.ndarray, need_x: bool, once: bool = False) -> tuple[np.ndarray, Backward]:
        y, backward = chained(self._steps(), array_of(self, "x", x), need_x, top=True, once=once)
        return y, lambda grad_y: backward(array_of(self, "grad_y", grad_y))

    def learn(
        self, x: np.ndarray, labels: np.ndarray, optimizer: Updater | None = None, lr_factor: float = 1.0,
        clip_value: float | None = None, owner: object = None,
    ) -> float | None:  # fmt: skip
        """Add the gradients of the mean cross-entropy with class ids to the parameters', all in one launch.

        With images side by side that is one kernel call. Otherwise, from the fifth batch of a size on, the launches of
        forward and backward are made as one, and the optimiser's step is left to its own.

        Args:
            x: a batch (N, ...) that is data: its gradient is not computed.
            labels: class ids (N,).
            optimizer: takes its step in the same call.
            lr_factor: this times the optimiser's learning rate is used.
            clip_value: the largest value of a gradient that the optimiser takes, as for `clip_grad_value`.
            owner: what is recorded is kept as long as this lives, as an optimiser; without one nothing is recorded.

        Returns:
            The mean cross-entropy; None, with nothing done, where it is not computed in one launch, the optimiser has
            not just the model's parameters, all trainable, or the arguments are not fit for it: the layers' own
            `forward` will do, or tell what is wrong.
        """
        if on_numpy() or not (plain(x) and plain(labels)) or labels.dtype.kind not in "iu":
            return None
        if x.ndim < 2 or labels.shape != x.shape[:1] or not labels.dtype.isnative:
            return None
        if len(self._together) == 1 and isinstance(self._together[0], Together):
            loss = self._together[0].learn(x, labels, optimizer, lr_factor, clip_value)
            if loss is not None:
                return loss
        if optimizer is not None or owner is None or type(self) is not Sequential:
            return None
        return learned(self._learnings.of(owner), self._layers, x, labels, self.forward_from_data)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the last layer's result."""
        done = 0
        try:
            for layer in self.layers:
                input_shape = layer.output_shape(input_shape)
                done += 1
        except Exception as error:
            named(error, self.layers, done, input_shape)
            raise
        return tuple(input_shape)

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of the layers, their output shapes for an input of `input_shape`, and their parameters.

        Below it, which layers are computed together, or why they are not.
        """
        notes = list(self._notes(tuple(input_shape)))
        lines = [f"{'layer':<44}{'output shape':<22}{'parameters':>10}"]
        total = 0
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
            count = sum(p.value.size for p in layer.parameters())
            total += count
            lines.append(f"{layer!r:<44}{input_shape!s:<22}{count:>10,}")
        return "\n".join([*lines, f"{'total':<66}{total:>10,}", *notes])

    def _notes(self, shape: tuple[int, ...]) -> Iterator[str]:
        first, batch, runs, dtype = 0, shape, 0, np.dtype(np.float32)
        for step in self._together:
            count = len(layers_of(step))
            if isinstance(step, Run):
                parameters = (p for layer in step.layers for p in layer.parameters())
                dtype = next((p.value.dtype for p in parameters), dtype)
                described = step.described(shape, dtype)
                runs += 1 if described == SIDE_BY_SIDE else count
                yield f"layers {first} to {first + count - 1}: {described}"
            else:
                runs += 1
            for layer in self.layers[first : first + count]:
                shape = layer.output_shape(shape)
            first += count
        if runs > 1 and type(self) is Sequential:
            tries = (
                ("inference", CALLS_BEFORE + 1, recordable(self._layers, batch, dtype)),
                ("training", RECORDED_FROM, learnable(self._layers, dtype)),
            )
            for name, first, fit in tries:
                when = f"from batch {first} of this size on"
                if fit:
                    yield f"{name}: {when}, the launches of kernels, if more than {LEAST_LAUNCHES - 1}, made as one"

    def _children(self) -> Iterator[tuple[str, Parameter | Layer]]:
        for i, layer in enumerate(self.layers):
            yield str(i), layer

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        """A layer, or the Sequential of some of them, sharing their parameters."""
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"
