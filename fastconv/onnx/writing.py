"""Models written as ONNX files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fastconv import nn
from fastconv._files import written_whole
from fastconv._geometry import Pads, PoolGeometry, conv_geometry, pair, pool_geometry, sizes
from fastconv.config import VERSION
from fastconv.errors import UnsupportedError
from fastconv.nn import Layer, Parameter
from fastconv.onnx._library import onnx_library

OPSET, IR_VERSION = 17, 8  # of 2022: old enough for every reader, and nothing later is needed
Shape: TypeAlias = tuple[int, ...]


def export(
    model: Layer, path: str | os.PathLike[str], input_shape: Shape, *, dynamic_batch: bool = True
) -> None:  # fmt: skip
    """Write a model as an ONNX file, whole or not at all; it computes what `model(x)` does.

    The weights have the names and dtype of `model.state_dict()`, the input is called `input`, the result `output`.
    ONNX Runtime runs float32; float64 is valid ONNX, which few programs run.

    Args:
        model: layers of `fastconv.nn` in a `Sequential`, or one of them.
        path: the file to write.
        input_shape: of an input, as (N, C, H, W).
        dynamic_batch: whether the file takes batches of any size, or of N alone.

    Raises:
        UnsupportedError: the model has layers that ONNX files cannot hold; all are named.
        ShapeError: `input_shape` does not fit the model.
        OSError: the file cannot be written.
        MissingExtraError: onnx is not installed.

    Example:
        >>> import tempfile, onnx
        >>> from fastconv.models import lenet5
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(lenet5(rng=0), f"{folder}/lenet5.onnx", (1, 1, 28, 28))
        ...     [node.op_type for node in onnx.load(f"{folder}/lenet5.onnx").graph.node][:4]
        ['Conv', 'Relu', 'MaxPool', 'Conv']

    Source: the ONNX specification, operators of opset 17.
    """
    library = onnx_library()
    if not isinstance(model, Layer):
        raise TypeError(f"export: model must be a Layer, got {type(model).__name__}")
    shape = sizes("export", "input_shape", input_shape, (2, 3, 4))
    graph = _Graph(library, np.result_type(np.float16, *(p.value for p in model.parameters())))
    result = graph.add_layer(model, "", "input", shape)
    if graph.problems:
        raise UnsupportedError(f"export: the model has {', '.join(graph.problems)}, which cannot be exported")
    content = graph.finished(result, shape, tuple(model.output_shape(shape)), dynamic_batch)
    with written_whole(path) as file:
        file.write(content)


class _Graph:
    """A graph that grows by nodes and weights."""

    def __init__(self, library: Any, dtype: np.dtype):
        self.library = library
        # a model without weights, or of float16 alone, takes float32
        self.dtype = np.dtype(np.float32) if dtype == np.float16 else dtype
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}
        self.problems: list[str] = []

    def add_layer(self, layer: Layer, prefix: str, x: str, shape: Shape) -> str:
        """Add a layer that takes the value x of `shape`; the name of its result."""
        write = WRITERS.get(type(layer))  # a subclass may do something else
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

    def parameters(self, prefix: str, *parameters: Parameter | None) -> list[str]:
        """The names of those of a layer's parameters that are there."""
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


def _pads(pads: Pads) -> list[int]:
    """ONNX's order: all beginnings, then all ends."""
    (top, bottom), (left, right) = pads
    return [top, left, bottom, right]


def _sequential(graph: _Graph, layer: nn.Sequential, prefix: str, x: str, shape: Shape) -> str:
    for i, inner in enumerate(layer):
        x, shape = graph.add_layer(inner, f"{prefix}{i}.", x, shape), tuple(inner.output_shape(shape))
    return x


def _conv(graph: _Graph, layer: nn.Conv2d, prefix: str, x: str, shape: Shape) -> str:
    stride, _, dilation, groups = layer.options
    geometry = conv_geometry("export", shape[1:], layer.weight.value.shape, *layer.options)
    return graph.add(
        "Conv", x, *graph.parameters(prefix, layer.weight, layer.bias), kernel_shape=layer.weight.value.shape[2:],
        strides=pair("export", "stride", stride, 1), dilations=pair("export", "dilation", dilation, 1), group=groups,
        pads=_pads((geometry.pads[:2], geometry.pads[2:])),
    )  # fmt: skip


def _linear(graph: _Graph, layer: nn.Linear, prefix: str, x: str, shape: Shape) -> str:
    return graph.add("Gemm", x, *graph.parameters(prefix, layer.weight, layer.bias), transB=1)


def _max_pool(graph: _Graph, layer: nn.MaxPool2d, prefix: str, x: str, shape: Shape) -> str:
    kernel, stride, _, dilation, _ = layer.options
    kernel, dilations = pair("export", "kernel_size", kernel, 1), pair("export", "dilation", dilation, 1)
    strides = kernel if stride is None else pair("export", "stride", stride, 1)
    pads = _reached(pool_geometry("export", shape[-2:], *layer.options), strides)
    if any(max(sides) >= k for sides, k in zip(pads, kernel)):  # which ONNX Runtime does not take
        x, pads = graph.add_pad(x, pads, -np.inf), ((0, 0), (0, 0))
    return graph.add("MaxPool", x, kernel_shape=kernel, strides=strides, pads=_pads(pads), dilations=dilations)


def _avg_pool(graph: _Graph, layer: nn.AvgPool2d, prefix: str, x: str, shape: Shape) -> str:
    kernel, stride, padding, ceil_mode, count_include_pad, divisor = layer.options
    geometry = pool_geometry("export", shape[-2:], kernel, stride, padding, 1, ceil_mode)
    kernel = pair("export", "kernel_size", kernel, 1)
    strides = kernel if stride is None else pair("export", "stride", stride, 1)
    pads = _reached(geometry, strides)
    if divisor is not None:
        # ONNX has no divisor, but a convolution of each channel with equal weights
        weight = graph.add_weight(f"{prefix}weight", np.full((shape[1], 1, *kernel), 1 / divisor))
        return graph.add(
            "Conv", x, weight, kernel_shape=kernel, strides=strides, pads=_pads(pads), group=shape[1]
        )  # fmt: skip
    counted = ((geometry.rows.before, geometry.rows.after), (geometry.columns.before, geometry.columns.after))
    if count_include_pad and any(reached > after for (_, reached), (_, after) in zip(pads, counted)):
        # cells that overhang the padding do not count
        x, count_include_pad = graph.add_pad(x, counted, 0.0), False
        pads = tuple((0, max(reached - after, 0)) for (_, reached), (_, after) in zip(pads, counted))  # type: ignore[assignment]
    return graph.add(
        "AveragePool", x, kernel_shape=kernel, strides=strides, pads=_pads(pads),
        count_include_pad=int(count_include_pad),
    )  # fmt: skip


def _reached(geometry: PoolGeometry, strides: tuple[int, int]) -> Pads:
    """The padding with which no window overhangs: readers of older files count the windows of ceil_mode otherwise."""
    top, left = (
        (axis.before, max((axis.out - 1) * step + axis.dilation * (axis.kernel - 1) + 1 - axis.size - axis.before, 0))
        for axis, step in zip((geometry.rows, geometry.columns), strides)
    )
    return top, left


def _elementwise(operator: str, **attributes: Any) -> Callable[[_Graph, Any, str, str, Shape], str]:
    return lambda graph, layer, prefix, x, shape: graph.add(operator, x, **attributes)


WRITERS: dict[type[Layer], Callable[[_Graph, Any, str, str, Shape], str]] = {
    nn.Sequential: _sequential,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.ReLU: _elementwise("Relu"),
    nn.Sigmoid: _elementwise("Sigmoid"),
    nn.Tanh: _elementwise("Tanh"),
    nn.Softmax: _elementwise("Softmax", axis=-1),
    nn.Flatten: _elementwise("Flatten", axis=1),
}
