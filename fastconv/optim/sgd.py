"""What optimisers share, and stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fastconv import reference
from fastconv._arguments.scalars import number
from fastconv._runtime.backend import on_numpy
from fastconv._runtime.jit import Kernel
from fastconv._runtime.pointers import Table
from fastconv.kernels import elementwise
from fastconv.nn.base import Parameter

TASK_ELEMENTS = 4096  # elements of a parameter that one task of an update changes


class Optimizer:
    """What optimisers share: the trainable parameters, the learning rate, and a state that can be saved.

    Attributes:
        parameters: the parameters to change.
        lr: the learning rate; may be set between steps.
        steps: how many steps have been taken.
        slots: for each name, one array a parameter, as momentum.
    """

    slot_names: tuple[str, ...] = ()
    kernel: ClassVar[Kernel | None] = None

    def __init__(self, parameters: Iterable[Parameter], lr: float):
        self.parameters = list(parameters)
        for p in self.parameters:
            if not isinstance(p, Parameter):
                raise TypeError(f"{type(self).__name__}: parameters must be Parameters, got {type(p).__name__}")
        self.lr = number(type(self).__name__, "lr", lr, 0)
        self.steps = 0
        self.slots = {name: [np.zeros_like(p.value) for p in self.parameters] for name in self.slot_names}
        self._tables: dict[np.dtype, tuple[Table, np.ndarray]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients that have come in."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def step(self, lr_factor: float = 1.0) -> None:
        """Change every trainable parameter once, with `lr_factor` times the learning rate."""
        self.steps += 1
        trainable = [i for i, parameter in enumerate(self.parameters) if parameter.trainable]
        if not on_numpy() and self.kernel is not None:
            self._update_together(trainable, self.lr * lr_factor)
            return
        for i in trainable:
            self._update(self.parameters[i], self.lr * lr_factor, *(self.slots[name][i] for name in self.slot_names))

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        raise NotImplementedError

    def _coefficients(self, lr: float) -> tuple[tuple[float, ...], tuple[Any, ...]]:
        """For the kernel: the rule's coefficients, in the parameters' dtype, and further arguments."""
        raise NotImplementedError

    def _update_together(self, trainable: list[int], lr: float) -> None:
        """Change the parameters of each dtype in one kernel call."""
        coefficients, others = self._coefficients(lr)
        slots = [self.slots[name] for name in self.slot_names]
        for dtype in {self.parameters[i].value.dtype for i in trainable}:
            chosen = [i for i in trainable if self.parameters[i].value.dtype == dtype]
            arrays = [self.parameters[i].value for i in chosen] + [self.parameters[i].grad for i in chosen]
            arrays += [slot[i] for slot in slots for i in chosen]
            table, parts = self._tables.setdefault(dtype, (Table(), np.empty((0, 3), np.int64)))
            if not table.holds(arrays):
                self._require_contiguous(arrays)
                table.fill(arrays)
                parts = tasks([array.size for array in arrays[: len(chosen)]], TASK_ELEMENTS)
                self._tables[dtype] = table, parts
            places = table.addresses.reshape(-1, len(chosen))
            assert self.kernel is not None
            # a task is worth a thread, unlike an element
            self.kernel.sized(len(parts) * TASK_ELEMENTS * 2)(*places, parts, np.array(coefficients, dtype), *others)

    def _require_contiguous(self, arrays: list[np.ndarray]) -> None:
        if not all(array.flags.carray for array in arrays):
            raise ValueError(f"{type(self).__name__}: parameters and gradients must be contiguous, writeable arrays")

    def state_dict(self) -> dict[str, Any]:
        """A copy of the state: `steps`, `lr`, and the slots as `"velocity.0"`."""
        state: dict[str, Any] = {"steps": self.steps, "lr": self.lr}
        for name, arrays in self.slots.items():
            state |= {f"{name}.{i}": array.copy() for i, array in enumerate(arrays)}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `state_dict` gave for the same parameters; nothing changes unless all of it fits.

        Raises:
            ValueError: something is missing, or has another shape.
        """
        targets = {f"{name}.{i}": array for name, arrays in self.slots.items() for i, array in enumerate(arrays)}
        wrong = [key for key, array in targets.items() if np.shape(state.get(key, 0)) != array.shape]
        if wrong or "steps" not in state or "lr" not in state:
            raise ValueError(f"load_state_dict: not the state of {type(self).__name__} for these parameters: {wrong}")
        for key, array in targets.items():
            array[...] = state[key]
        self.steps, self.lr = int(state["steps"]), float(state["lr"])


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v = momentum * v + g; value -= lr * v.

    Args:
        parameters: `model.parameters()`.
        lr: learning rate, at least 0.
        momentum: the share of the last step that is kept, 0 to below 1.
        nesterov: step along g + momentum * v instead.
        weight_decay: this times the value is added to each gradient.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number.

    Example:
        >>> p = Parameter(np.array([1.0]))
        >>> p.accumulate(np.array([0.5]))
        >>> SGD([p], lr=0.1).step()
        >>> p.value
        array([0.95])

    Source: I. Sutskever et al., On the importance of initialization and momentum in deep learning (2013), section 2.
    """

    slot_names = ("velocity",)
    kernel = elementwise.sgd

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False,
        weight_decay: float = 0.0,
    ):  # fmt: skip
        super().__init__(parameters, lr)
        self.momentum = number("SGD", "momentum", momentum, 0, below=1)
        self.weight_decay = number("SGD", "weight_decay", weight_decay, 0)
        self.nesterov = bool(nesterov)
        self._order: tuple[Sequence[Parameter], list[int]] | None = None
        self._velocities = Table()

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        (velocity,) = slots
        options = self.momentum, self.nesterov, self.weight_decay
        reference.sgd_update(parameter.value, parameter.grad, velocity, lr, *options)

    def _coefficients(self, lr: float) -> tuple[tuple[float, ...], tuple[Any, ...]]:
        return (lr, self.momentum, self.weight_decay, float(self.nesterov)), ()

    def update_of(self, parameters: Sequence[Parameter], lr_factor: float) -> tuple[np.ndarray, np.ndarray] | None:
        """A step for a kernel that computes the gradients as well, which counts as taken.

        Args:
            parameters: in the kernel's order, of one dtype.
            lr_factor: as for `step`.

        Returns:
            Where their velocities lie, and the coefficients for `elementwise.sgd_part`; None, and no step is counted,
            unless they are all of this optimiser's parameters, and trainable.
        """
        if type(self) is not SGD or not all([p.trainable for p in parameters]):
            return None
        if self._order is None or self._order[0] is not parameters:
            places = {id(p): i for i, p in enumerate(self.parameters)}
            if len(parameters) != len(places) or any(id(p) not in places for p in parameters):
                return None
            self._order = parameters, [places[id(p)] for p in parameters]
        velocities = [self.slots["velocity"][i] for i in self._order[1]]
        if not self._velocities.holds(velocities):
            self._require_contiguous(velocities)
            self._velocities.fill(velocities)
        self.steps += 1
        coefficients, _ = self._coefficients(self.lr * lr_factor)
        return self._velocities.addresses, np.array(coefficients, parameters[0].value.dtype)


def tasks(lengths: list[int], most: int) -> np.ndarray:
    """(parameter, first element, how many) for each task, of `most` elements at most: (tasks, 3) int64."""
    parts = [
        (i, first, min(most, size - first)) for i, size in enumerate(lengths) for first in range(0, size, most)
    ]  # fmt: skip
    return np.array(parts, np.int64).reshape(-1, 3)
