"""An ONNX graph while it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from fastconv._arguments.sizes import Pads
from fastconv.config import VERSION
from fastconv.nn import Buffer, Layer, Parameter

OPSET, IR_VERSION = 17, 8  # of 2022: old enough for every reader, and nothing later is needed
Shape: TypeAlias = tuple[int, ...]
# from the graph, a layer, the prefix of its names, the value it takes and its shape, to the name of its result
Writer: TypeAlias = "Callable[[Graph, Any, str, str, Shape], str]"


class Graph:
    """A graph that grows by nodes and weights.

    Attributes:
        dtype: of all floating-point values.
        problems: the layers that cannot be written.
    """

    def __init__(self, library: Any, dtype: np.dtype, writers: Mapping[type[Layer], Writer]):
        self.library, self.writers = library, writers
        # a model without weights, or of float16 alone, takes float32
        self.dtype = np.dtype(np.float32) if dtype == np.float16 else dtype
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}
        self.problems: list[str] = []

    def add_layer(self, layer: Layer, prefix: str, x: str, shape: Shape) -> str:
        """Add a layer that takes the value x of `shape`; the name of its result."""
        write = self.writers.get(type(layer))  # a subclass may do something else
        if write is None:
            self.problems.append(f"{prefix.removesuffix('.') or 'the model'}: {type(layer).__name__}")
            return x
        return write(self, layer, prefix, x, shape)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one result; the name of that."""
        result = f"{operator}_{len(self.nodes)}"
        self.nodes.append(self.library.helper.make_node(operator, inputs, [result], name=result, **attributes))
        return result

    def add_weight(self, name: str, value: np.ndarray) -> str:
        """Add an array to the file, once for each name; the name."""
        array = np.array(value, self.dtype, order="C")
        self.weights.setdefault(name, self.library.numpy_helper.from_array(array, name))
        return name

    def parameters(self, prefix: str, *parameters: Parameter | Buffer | None) -> list[str]:
        """The names of those of a layer's parameters and buffers that are there."""
        return [self.add_weight(f"{prefix}{p.name}", p.value) for p in parameters if p is not None]

    def add_pad(self, x: str, pads: Pads, value: float) -> str:
        """Add cells of a value around the images x."""
        (top, bottom), (left, right) = pads
        widths = self.library.numpy_helper.from_array(np.array([0, 0, top, left, 0, 0, bottom, right]))
        settings = [
            self.add("Constant", value=tensor)
            for tensor in (widths, self.library.numpy_helper.from_array(np.array(value, self.dtype)))
        ]
        return self.add("Pad", x, *settings)

    def finished(self, result: str, input_shape: Shape, output_shape: Shape, dynamic_batch: bool) -> bytes:
        """The file's content, after ONNX's own checker has seen it."""
        helper, batch = self.library.helper, (["N"] if dynamic_batch else [input_shape[0]])
        if result == "input":
            result = self.add("Identity", "input")
        for node in self.nodes:
            node.output[:] = ["output" if name == result else name for name in node.output]
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        ends = [
            [helper.make_tensor_value_info(name, kind, [*batch, *shape[1:]])]
            for name, shape in (("input", input_shape), ("output", output_shape))
        ]
        graph = helper.make_graph(self.nodes, "fastconv", *ends, list(self.weights.values()))
        model = helper.make_model(
            graph, producer_name="fastconv", producer_version=VERSION, ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )  # fmt: skip
        self.library.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)
