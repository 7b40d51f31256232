"""What optimisers share, and stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fastconv import reference
from fastconv._arguments.scalars import number
from fastconv._runtime.pointers import Table
from fastconv.kernels import updates
from fastconv.nn.base import Parameter
from fastconv.optim.clipping import NO_CLIP, NO_LIMITS, Clip
from fastconv.optim.group import DTYPES, Group, by_kernels, step_of, writable


class Optimizer:
    """What optimisers share: the trainable parameters, the learning rate, and a state that can be saved.

    Attributes:
        parameters: the parameters to change.
        lr: the learning rate; may be set between steps.
        steps: how many steps have been taken.
        slots: for each name, one array a parameter, as momentum.
    """

    slot_names: tuple[str, ...] = ()
    rule: ClassVar[int] = updates.NO_RULE

    def __init__(self, parameters: Iterable[Parameter], lr: float):
        self.parameters = list(parameters)
        for p in self.parameters:
            if not isinstance(p, Parameter):
                raise TypeError(f"{type(self).__name__}: parameters must be Parameters, got {type(p).__name__}")
        self.lr = number(type(self).__name__, "lr", lr, 0)
        self.steps = 0
        self.slots = {name: [np.zeros_like(p.value) for p in self.parameters] for name in self.slot_names}
        self._together: dict[np.dtype, Group] = {}
        self._order: tuple[Sequence[Parameter], list[int]] | None = None
        self._places = Table()

    def zero_grad(self) -> None:
        """Forget the gradients that have come in."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def step(self, lr_factor: float = 1.0) -> None:
        """Change every trainable parameter once, with `lr_factor` times the learning rate."""
        self._step(lr_factor, NO_CLIP)

    def clip_and_step(self, clip: Clip, lr_factor: float = 1.0) -> None:
        """Clip the gradients, in place, and take a step: in one pass over them where kernels can."""
        if type(self).step is Optimizer.step:
            self._step(lr_factor, clip)
        else:
            clip.apply(self.parameters)
            self.step(lr_factor)

    def _step(self, lr_factor: float, clip: Clip) -> None:
        trainable = [i for i, parameter in enumerate(self.parameters) if parameter.trainable]
        together = bool(self.rule) and by_kernels()
        dtypes = {self.parameters[i].value.dtype for i in trainable}
        if clip != NO_CLIP and not (together and len(dtypes) == 1 and dtypes <= set(DTYPES) and self._each_once()):
            clip.apply(self.parameters)
            clip = NO_CLIP
        self.steps += 1
        lr = self.lr * lr_factor
        for dtype in dtypes:
            chosen = [i for i in trainable if self.parameters[i].value.dtype == dtype]
            if together and dtype in DTYPES:
                self._update_together(chosen, dtype, lr, clip)
                continue
            for i in chosen:
                self._update(self.parameters[i], lr, *(self.slots[name][i] for name in self.slot_names))

    def _each_once(self) -> bool:
        return len({id(parameter) for parameter in self.parameters}) == len(self.parameters)

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        raise NotImplementedError

    def _numbers(self, lr: float) -> tuple[float, ...]:
        """For the kernel: the rule's numbers."""
        raise NotImplementedError

    def _rule_slots(self) -> list[list[np.ndarray]]:
        """For the kernel: the arrays of the rule's slots."""
        return [self.slots[name] for name in self.slot_names]

    def _update_together(self, chosen: list[int], dtype: np.dtype, lr: float, clip: Clip) -> None:
        """Change parameters of one dtype in one kernel call."""
        group = self._together.get(dtype)
        if group is None:
            group = self._together[dtype] = Group(dtype)
        parameters = [self.parameters[i] for i in chosen]
        slots = [slot[i] for slot in self._rule_slots() for i in chosen]
        if not group.fill([p.value for p in parameters], [p.grad for p in parameters], slots):
            raise self._unfit()
        group.update(self.rule, self._numbers(lr), clip.limits(group))

    def _unfit(self) -> ValueError:
        what = "contiguous, writeable arrays of one dtype and shape"
        return ValueError(f"{type(self).__name__}: parameters and gradients must be {what}")

    def update_of(
        self, parameters: Sequence[Parameter], lr_factor: float, clip_value: float | None = None
    ) -> updates.Step | None:  # fmt: skip
        """A step for a kernel that computes the gradients as well, which counts as taken.

        Args:
            parameters: in the kernel's order, of one dtype.
            lr_factor: as for `step`.
            clip_value: what the gradients are limited to, if they are.

        Returns:
            The step; None, and no step is counted, unless they are all of this optimiser's parameters, and trainable,
            and it is one of this package.
        """
        if "rule" not in vars(type(self)) or not all([p.trainable for p in parameters]):
            return None
        if self._order is None or self._order[0] is not parameters:
            places = {id(p): i for i, p in enumerate(self.parameters)}
            if len(parameters) != len(self.parameters) or any(id(p) not in places for p in parameters):
                return None
            self._order = parameters, [places[id(p)] for p in parameters]
        slots = [slot[i] for slot in self._rule_slots() for i in self._order[1]]
        dtype = parameters[0].value.dtype
        if not self._places.holds(slots):
            if not writable(slots, dtype):
                raise self._unfit()
            self._places.fill(slots)
        self.steps += 1
        limits = NO_LIMITS if clip_value is None else (clip_value, 1.0)
        places_of_slots = self._places.addresses.reshape(-1, len(parameters))
        return step_of(self.rule, places_of_slots, self._numbers(self.lr * lr_factor), limits, dtype)

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
    rule = updates.SGD

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False,
        weight_decay: float = 0.0,
    ):  # fmt: skip
        super().__init__(parameters, lr)
        self.momentum = number("SGD", "momentum", momentum, 0, below=1)
        self.weight_decay = number("SGD", "weight_decay", weight_decay, 0)
        self.nesterov = bool(nesterov)

    def _update(self, parameter: Parameter, lr: float, *slots: np.ndarray) -> None:
        (velocity,) = slots
        options = self.momentum, self.nesterov, self.weight_decay
        reference.sgd_update(parameter.value, parameter.grad, velocity, lr, *options)

    def _numbers(self, lr: float) -> tuple[float, ...]:
        return lr, self.momentum, self.weight_decay, float(self.nesterov)
