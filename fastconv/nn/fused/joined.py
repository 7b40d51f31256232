"""A residual connection whose body ends in a normalisation, and the activation behind it, joined in one pass.

The pass normalises the body's sums, and the shortcut's where it ends in a normalisation too, adds them and clamps the
result. Back, each branch takes its gradient through the activation's gate as it reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv._engine.batch_norm import planes
from fastconv.kernels.batch_norm import OPEN, Gate
from fastconv.kernels.branches import add, add_passing, add_within
from fastconv.nn.base import Backward, Layer, gradient_of
from fastconv.nn.fused.chain import chained
from fastconv.nn.fused.normalised import Added, Normalised, bounds_of, gate_of
from fastconv.nn.fused.run import Run
from fastconv.nn.residual import Residual, summed


class Joined(Run):
    """A `Residual`, and perhaps a `ReLU` or `ReLU6`.

    Attributes:
        layers: both.
        residual: the connection.
        activation: what follows, or None.
    """

    def __init__(self, residual: Residual, activation: Layer | None):
        self.residual, self.activation = residual, activation
        self.layers = (residual,) if activation is None else (residual, activation)

    def _takes(self, x: np.ndarray) -> bool:
        """Whether a batch is joined here: runs compute all branches, of the dtype of x, and nothing is an error."""
        branches = self._branches()
        if not (type(x) is np.ndarray and x.ndim == 4 and _ends_normalised(branches[0])):
            return False
        try:
            self.residual.output_shape(x.shape)
            return all(_fits(steps, x.shape, x.dtype) for steps in branches)
        except ValueError:
            return False

    def described(self, shape: tuple[int, ...], dtype: np.dtype) -> str:
        """How images of a shape are computed, for `summary`."""
        branches = self._branches()
        joined = _ends_normalised(branches[0]) and all(_fits(steps, shape, dtype) for steps in branches)
        return "the branches joined in one pass" if joined else "each for itself"

    def _branches(self) -> list[Sequence[Layer]]:
        return [branch.parts() for branch in (self.residual.body, self.residual.shortcut) if branch is not None]

    def forward(self, x: np.ndarray, need_x: bool = True) -> tuple[np.ndarray, Backward]:
        """The last layer's result, and the gradient; of the layers' parameters alone unless `need_x`."""
        if not self._takes(x):
            return chained(self.layers, x)
        *first, last = self.residual.body.parts()
        assert isinstance(last, Normalised)
        inner, through_body = chained(first, x, need_x)
        body = last.moments(inner)
        side = self._side(x, body.numbers, need_x)
        y = last.result(body, self.activation, side.added)

        def backward(grad_y: np.ndarray) -> np.ndarray:
            grad_y = np.ascontiguousarray(gradient_of(self.layers[-1], grad_y, y.shape), y.dtype)
            gate = gate_of(self.activation, body, y)
            grad_x: Any = last.gradient(grad_y, body, gate, need_x or bool(first))
            grad_x = through_body(grad_x)
            side.add_gradient(grad_x, grad_y, gate)
            return grad_x

        return y, backward

    def _side(self, x: np.ndarray, numbers: np.ndarray, need_x: bool) -> _Side:
        """What the shortcut adds to a body's result that is normalised by such numbers."""
        as_it_is = np.zeros_like(numbers)
        as_it_is[1] = 1
        shortcut = self.residual.shortcut
        if shortcut is None:
            return _Side(Added(planes(x), as_it_is), need_x)
        steps = shortcut.parts()
        if len(steps) == 1 and isinstance(end := steps[0], Normalised) and end.activation is None:
            taken = end.moments(x)
            added = Added(planes(taken.sums), taken.numbers)
            return _Side(added, need_x, lambda g, gate: end.gradient(g, taken, gate, need_x))
        y, through = shortcut.forward(x)
        return _Side(
            Added(planes(np.ascontiguousarray(y)), as_it_is), need_x, lambda g, gate: through(_passed(g, gate))
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The last layer's result."""
        y, side = self.residual.branches(x)
        plain = type(y) is type(side) is np.ndarray and y.dtype == side.dtype and y.dtype in (np.float32, np.float64)
        if not (plain and _ends_normalised(self.residual.body.parts())):
            y = summed(y, side)
            return y if self.activation is None else self.activation(y)
        # a normalisation's result is nobody else's
        add_within(y.reshape(-1), np.ascontiguousarray(side).reshape(-1), bounds_of(self.activation, y.dtype))
        return y


class _Side:
    """A shortcut's part of a pass: what is added, and how its gradient is added to the body's.

    Attributes:
        added: images and numbers.
    """

    def __init__(self, added: Added, need_x: bool, through: Callable[[np.ndarray, Gate], Any] | None = None):
        self.added, self._need_x, self._through = added, need_x, through

    def add_gradient(self, grad_x: np.ndarray, g: np.ndarray, gate: Gate) -> None:
        """Add what comes back through the gate and the shortcut to the gradient of x, where that is needed."""
        if self._through is not None:
            found = self._through(g, gate)
            if self._need_x:
                add(grad_x.reshape(-1), np.ascontiguousarray(found, grad_x.dtype).reshape(-1))
        elif self._need_x:
            _add_passing(grad_x, g, gate)


def _passed(g: np.ndarray, gate: Gate) -> np.ndarray:
    """What of g passes a gate."""
    found = np.zeros_like(g)
    _add_passing(found, g, gate)
    return found


def _add_passing(target: np.ndarray, g: np.ndarray, gate: Gate) -> None:
    """Add what of g passes a gate to target."""
    if gate.kind == OPEN:
        add(target.reshape(-1), g.reshape(-1))
    else:
        add_passing(target.reshape(-1), g.reshape(-1), gate.result.reshape(-1), gate.bounds)


def _ends_normalised(steps: Sequence[Layer]) -> bool:
    """Whether the last of a branch's steps is a normalisation, with nothing behind it."""
    last = steps[-1] if steps else None
    return isinstance(last, Normalised) and last.activation is None


def _fits(steps: Sequence[Layer], shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether runs compute all steps of a branch, with parameters of that dtype, and take images of that shape."""
    for step in steps:
        if not isinstance(step, Run):
            return False
        if isinstance(step, Normalised) and not step.fits(shape, dtype):
            return False
        for layer in step.layers:
            if any(parameter.value.dtype != dtype for parameter in layer.parameters()):
                return False
            shape = layer.output_shape(shape)
    return True
