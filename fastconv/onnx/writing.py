"""Models written as ONNX files."""

from __future__ import annotations

import os

import numpy as np

from fastconv._arguments.sizes import sizes
from fastconv.data.files import written_atomically
from fastconv.errors import UnsupportedError
from fastconv.nn import Layer
from fastconv.onnx._library import onnx_library
from fastconv.onnx.graph import Graph, Shape
from fastconv.onnx.layers import WRITERS


def export(
    model: Layer, path: str | os.PathLike[str], input_shape: Shape, *, dynamic_batch: bool = True
) -> None:  # fmt: skip
    """Write a model as an ONNX file, whole or not at all; it computes what `model(x)` does.

    The weights have the names and dtype of `model.state_dict()`, the input is called `input`, the result `output`.
    ONNX Runtime runs float32; float64 is valid ONNX, which few programs run. The file describes inference: batch
    normalisation goes by its running statistics, dropout is left out. Of a `PartialConv2d` the weights are those of the
    whole convolution.

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
    dtype = np.result_type(np.float16, *(p.value for p in model.parameters()))
    graph = Graph(library, dtype, WRITERS)
    result = graph.add_layer(model, "", "input", shape)
    if graph.problems:
        raise UnsupportedError(f"export: the model has {', '.join(graph.problems)}, which cannot be exported")
    content = graph.finished(result, shape, tuple(model.output_shape(shape)), dynamic_batch)
    with written_atomically(path) as file:
        file.write(content)
