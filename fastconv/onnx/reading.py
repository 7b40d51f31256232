"""ONNX files read as layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastconv import functional as F
from fastconv.data.reading import as_path, damage, opening
from fastconv.errors import DataError, UnsupportedError
from fastconv.nn import Buffer, Parameter
from fastconv.onnx import convolutions, maths, poolings, shapes
from fastconv.onnx._library import onnx_library
from fastconv.onnx.model import OnnxModel, Operator, Step
from fastconv.onnx.node import Node

# from 7 on shapes are stretched as NumPy does it; 28 is the newest that was tried
OPSETS = range(7, 29)
OPERATORS: dict[str, Callable[[Node], Operator]] = {
    "Add": maths.add,
    "AveragePool": poolings.average_pool,
    "BatchNormalization": maths.batch_normalization,
    "Clip": maths.clip,
    "Concat": shapes.concat,
    "Conv": convolutions.conv,
    "ConvTranspose": convolutions.conv_transpose,
    "Dropout": maths.dropout,
    "Flatten": shapes.flatten,
    "Gemm": maths.gemm,
    "GlobalAveragePool": maths.global_average_pool,
    "Identity": maths.identity,
    "LRN": maths.lrn,
    "LeakyRelu": maths.leaky_relu,
    "MaxPool": poolings.max_pool,
    "Pad": shapes.pad,
    "ReduceMean": maths.reduce_mean,
    "Relu": maths.by_result(F.relu, F.relu_backward),
    "Reshape": shapes.reshape,
    "Sigmoid": maths.by_result(F.sigmoid, F.sigmoid_backward),
    "Softmax": maths.softmax,
    "Tanh": maths.by_result(F.tanh, F.tanh_backward),
}
# inputs that say how to compute, and are not learnt
SETTINGS = {"Clip": (1, 2), "Dropout": (1, 2), "Pad": (1, 2, 3), "ReduceMean": (1,), "Reshape": (1,)}
STATISTICS = {"BatchNormalization": (3, 4)}
_BEGINNING = 1 << 16
CONSTANTS = ("value", "value_float", "value_floats", "value_int", "value_ints")


def load(path: str | os.PathLike[str]) -> OnnxModel:
    """Read an ONNX file as a layer: `model(x)` computes its graph, and its weights are the layer's parameters.

    The operators are Conv, ConvTranspose, MaxPool, AveragePool, GlobalAveragePool, BatchNormalization, LRN, Gemm, Relu,
    LeakyRelu, Sigmoid, Tanh, Softmax, Flatten, Reshape, Add, Concat, Dropout, Identity, Pad, Clip, ReduceMean and
    Constant, of the operator sets 7 to 28, with one or two axes. Means and variances are its buffers.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is not a valid ONNX model.
        UnsupportedError: it has operators or attributes that fastconv does not compute; all are named.
        MissingExtraError: onnx is not installed.

    Example:
        >>> import tempfile
        >>> from fastconv.models import lenet5
        >>> from fastconv.onnx import export
        >>> model, x = lenet5(rng=0), np.ones((2, 1, 28, 28), np.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(model, f"{folder}/lenet5.onnx", (1, 1, 28, 28))
        ...     same = load(f"{folder}/lenet5.onnx")
        >>> np.abs(same(x) - model(x)).max() < 1e-6, same.state_dict().keys() == model.state_dict().keys()
        (np.True_, True)

    Source: the ONNX specification.
    """
    library = onnx_library()
    with opening(path, "an ONNX file"), as_path("load", path).open("rb") as file:
        beginning = file.read(_BEGINNING)
    with damage(path, "an ONNX file", beginning):  # and files lost that it names
        model = library.load(path)
        reader = _Reader(library, model)
        problems = reader.problems()
    if problems:
        raise UnsupportedError(f"{path}: needs what fastconv does not compute: {'; '.join(problems)}")
    try:
        library.checker.check_model(model)
    except (library.checker.ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not a valid ONNX model ({error})") from error
    with damage(path, "an ONNX file"):
        return reader.model()


class _Reader:
    """The graph of a file, taken apart."""

    def __init__(self, library: Any, model: Any):
        self.library, self.graph = library, model.graph
        self.opset = max([o.version for o in model.opset_import if o.domain in ("", "ai.onnx")], default=0)
        self.arrays: dict[str, np.ndarray] = {}
        self.found: list[str] = []
        self.steps: list[Step] = []

    def problems(self) -> list[str]:
        """Everything in the file that is not supported, each once; the rest is ready for `model`."""
        if self.opset not in OPSETS:
            self.found.append(f"operator set {self.opset} ({OPSETS[0]} to {OPSETS[-1]} can be read)")
        for end in (*self.graph.input, *self.graph.output):
            if end.type.WhichOneof("value") == "tensor_type":
                end.type.tensor_type.shape.SetInParent()  # the checker refuses files that tell no shapes
            else:
                self.found.append(f"{end.name!r}, which is no tensor")
        self.found += [f"sparse weights {s.values.name!r}" for s in self.graph.sparse_initializer]
        for tensor in self.graph.initializer:
            self._keep(tensor.name, tensor)
        used = {name for node in self.graph.node for name in node.input} | {end.name for end in self.graph.output}
        for node in self.graph.node:
            self._read(node, used)
        return list(dict.fromkeys(self.found))

    def _keep(self, name: str, tensor: Any) -> None:
        array = self.library.numpy_helper.to_array(tensor)
        if array.dtype.kind not in "biuf":
            kind = self.library.TensorProto.DataType.Name(tensor.data_type)
            self.found.append(f"weights {name!r} of type {kind}")
        self.arrays[name] = array

    def _read(self, node: Any, used: set[str]) -> None:
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}::"
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        if node.op_type == "Constant" and not domain:
            self._constant(node, attributes)
            return
        make = None if domain else OPERATORS.get(node.op_type)
        if make is None:
            self.found.append(f"{domain}{node.op_type}")
            return
        constants = [self.arrays.get(name) for name in node.input]
        seen = Node(node.op_type, node.name, self.opset, attributes, constants, [name in used for name in node.output])
        operator = make(seen)
        seen.finish()
        self.found += seen.problems
        outputs = tuple(node.output)
        self.steps.append(Step(operator, tuple(node.input), outputs, seen.label))

    def _attribute(self, attribute: Any) -> Any:
        value = self.library.helper.get_attribute_value(attribute)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def _constant(self, node: Any, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            if name not in CONSTANTS:
                self.found.append(f"Constant with attribute {name}")
            elif name == "value":
                self._keep(node.output[0], value)
            else:
                self.arrays[node.output[0]] = np.array(value, np.float32 if "float" in name else np.int64)

    def model(self) -> OnnxModel:
        """The layer."""
        weights = [tensor.name for tensor in self.graph.initializer]
        learnt: dict[str, bool] = {}
        for node in self.graph.node:
            for i, name in enumerate(node.input):
                if name in weights and self.arrays[name].dtype.kind == "f" and i not in SETTINGS.get(node.op_type, ()):
                    learnt[name] = learnt.get(name, False) or i not in STATISTICS.get(node.op_type, ())
        state = {
            name: (Parameter if learnt[name] else Buffer)(self.arrays[name].copy(), name)
            for name in weights
            if name in learnt
        }
        constants = {name: array for name, array in self.arrays.items() if name not in learnt}
        inputs = [end.name for end in self.graph.input if end.name not in weights]
        return OnnxModel(self.steps, state, constants, inputs, [end.name for end in self.graph.output])
