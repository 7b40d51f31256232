"""A graph of operators as a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fastconv._arguments.arrays import numeric
from fastconv.errors import ShapeError
from fastconv.nn import Buffer, Layer, Parameter

Outputs: TypeAlias = tuple[np.ndarray, ...]
# from the gradient of the first output, and whether that of each input is needed, to those of the inputs
Gradients: TypeAlias = Callable[[np.ndarray, Sequence[bool]], Sequence[np.ndarray | None]]


@dataclass(frozen=True)
class Operator:
    """What a node computes.

    Attributes:
        forward: the outputs for the inputs, None for those that are left out, and the gradients' function.
        infer: the outputs alone, where they can be had for less.
    """

    forward: Callable[..., tuple[Outputs, Gradients]]
    infer: Callable[..., Outputs] | None = None

    def __call__(self, *inputs: np.ndarray | None) -> Outputs:
        """The outputs for the inputs."""
        return self.infer(*inputs) if self.infer else self.forward(*inputs)[0]


@dataclass(frozen=True)
class Step:
    """An operator and the names of the values that it takes and gives; "" is one that is left out."""

    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    label: str


class OnnxModel(Layer):
    """What `fastconv.onnx.load` makes of a file: a layer that computes its graph, and the gradient of that.

    The file describes inference, and so does this layer: `forward` computes the same numbers as a call, dropout does
    nothing and batch normalisation keeps its statistics. With several inputs, call it with as many arrays; with several
    outputs the result, and what `backward` takes, is a tuple.

    Attributes:
        inputs: the names of the graph's inputs.
        outputs: the names of its outputs.
    """

    def __init__(
        self, steps: Sequence[Step], state: Mapping[str, Parameter | Buffer], constants: Mapping[str, np.ndarray],
        inputs: Sequence[str], outputs: Sequence[str],
    ):  # fmt: skip
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._steps, self._state, self._constants = tuple(steps), dict(state), dict(constants)
        self._parameters = {name: p for name, p in state.items() if isinstance(p, Parameter)}
        last = {name: i for i, step in enumerate(steps) for name in (*step.inputs, *step.outputs)}
        kept = {*self.outputs, *self._state, *self._constants, ""}
        self._done = [[name for name, at in last.items() if at == i and name not in kept] for i in range(len(steps))]
        self._derived = set(self.inputs)
        for step in steps:
            if self._derived.intersection(step.inputs) or self._parameters.keys() & set(step.inputs):
                self._derived.add(step.outputs[0])

    def __call__(self, *x: np.ndarray) -> Any:
        """The graph's result."""
        values = self._start(x)
        for step, done in zip(self._steps, self._done):
            with _named(step):
                outputs = step.operator(*(values[name] for name in step.inputs))
            values.update(zip(step.outputs, outputs))
            values[""] = None
            for name in done:
                del values[name]
        return _one([values[name] for name in self.outputs])

    def forward(self, *x: np.ndarray) -> tuple[Any, Callable[..., Any]]:
        """The graph's result, and its gradient."""
        values, gradients = self._start(x), []
        for step in self._steps:
            with _named(step):
                outputs, gradient = step.operator.forward(*(values[name] for name in step.inputs))
            values.update(zip(step.outputs, outputs))
            values[""] = None
            gradients.append(gradient)
        results = [values[name] for name in self.outputs]
        kinds = [(a.shape, a.dtype) for a in x]

        def backward(grad_y: Any) -> Any:
            grads = self._backward(gradients, [grad_y] if len(self.outputs) == 1 else grad_y)
            return _one([np.zeros(*kind) if grad is None else grad for grad, kind in zip(grads, kinds)])

        return _one(results), backward

    def _start(self, x: Sequence[np.ndarray]) -> dict[str, Any]:
        if len(x) != len(self.inputs):
            raise ShapeError(f"OnnxModel: takes {len(self.inputs)} arrays ({', '.join(self.inputs)}), got {len(x)}")
        arrays = {name: numeric("OnnxModel", name, a) for name, a in zip(self.inputs, x)}
        weights = {name: p.value for name, p in self._state.items()}
        return {"": None, **weights, **self._constants, **arrays}

    def _backward(self, gradients: Sequence[Gradients], grad_outputs: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        grads: dict[str, np.ndarray] = {}

        def add(name: str, grad: np.ndarray | None) -> None:
            if grad is not None:
                grads[name] = grads[name] + grad if name in grads else grad

        for name, grad in zip(self.outputs, grad_outputs):
            add(name, grad)
        wanted = self._derived | {name for name, p in self._parameters.items() if p.trainable}
        for step, gradient in zip(reversed(self._steps), reversed(gradients)):
            if step.outputs[0] in grads:
                needs = [name in wanted for name in step.inputs]
                for name, need, part in zip(step.inputs, needs, gradient(grads.pop(step.outputs[0]), needs)):
                    add(name, part if need else None)
        for name, p in self._parameters.items():
            if p.trainable:
                p.accumulate(grads.get(name))
        return [grads.get(name) for name in self.inputs]

    def _children(self) -> Iterator[tuple[str, Parameter | Buffer | Layer]]:
        yield from self._state.items()

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result, found by computing one."""
        dtypes = [p.value.dtype for p in self._parameters.values()]
        return self(np.zeros(input_shape, dtypes[0] if dtypes else np.float32)).shape

    def __repr__(self) -> str:
        return f"OnnxModel({len(self._steps)} nodes: {', '.join(self.inputs)} -> {', '.join(self.outputs)})"


class _named:
    """Adds to an error inside the block in which node it came up."""

    def __init__(self, step: Step):
        self.step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            error.add_note(f"in the ONNX node {self.step.label}")


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)
