"""A node of an ONNX graph while it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Node:
    """What an operator is made from; what is not supported is noted in `problems`.

    Attributes:
        operator: the operator's name, as `"Conv"`.
        label: the operator's name with the node's.
        opset: the version of the operator set.
        constants: of each input, the array that the file gives for it, or None.
        outputs: of each output, whether anything uses it.
        problems: what is not supported, in words.
    """

    def __init__(
        self, operator: str, name: str, opset: int, attributes: Mapping[str, Any],
        constants: Sequence[np.ndarray | None], outputs: Sequence[bool],
    ):  # fmt: skip
        self.operator, self.opset = operator, opset
        self.label = f"{operator} {name!r}" if name else operator
        self.constants, self.outputs = constants, outputs
        self.problems: list[str] = []
        self._left = dict(attributes)

    def take(self, name: str, default: Any) -> Any:
        """An attribute, which then counts as supported, or what the specification says of one that is left out."""
        value = self._left.pop(name, default)
        if default is not None and type(value) is not type(default):
            self.refuse(f"attribute {name} = {value!r}, where {default!r} is usual")
            return default
        return value

    def take_integers(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers."""
        value = self._left.pop(name, None)
        if value is None or (isinstance(value, list) and all(isinstance(v, int) for v in value)):
            return value
        self.refuse(f"attribute {name} = {value!r}, where integers are usual")
        return None

    def refuse(self, what: str) -> None:
        """Note what is not supported."""
        self.problems.append(f"{self.label} with {what}")

    def only_outputs(self, count: int) -> None:
        """Refuse outputs after the first `count` that something uses."""
        if any(self.outputs[count:]):
            self.refuse(f"output {count + self.outputs[count:].index(True) + 1}")

    def finish(self) -> None:
        """Refuse the attributes that no operator has taken."""
        for name, value in self._left.items():
            self.refuse(f"attribute {name} = {value!r}")

    def constant(self, i: int) -> np.ndarray | None:
        """The array that the file gives for input i, None if it is left out or computed."""
        return self.constants[i] if i < len(self.constants) else None
