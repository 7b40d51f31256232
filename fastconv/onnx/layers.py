"""How each layer is written into an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn
from fastconv._arguments.sizes import Pads, pair
from fastconv._geometry.conv import conv_geometry
from fastconv._geometry.conv_transpose import conv_transpose_geometry
from fastconv._geometry.pool import pool_geometry
from fastconv.nn import Layer
from fastconv.onnx.graph import Graph, Shape, Writer
from fastconv.onnx.windows import without_overhang


def _pads(pads: Pads) -> list[int]:
    """ONNX's order: all beginnings, then all ends."""
    (top, bottom), (left, right) = pads
    return [top, left, bottom, right]


def _sequential(graph: Graph, layer: nn.Sequential, prefix: str, x: str, shape: Shape) -> str:
    for i, inner in enumerate(layer):
        x, shape = graph.add_layer(inner, f"{prefix}{i}.", x, shape), tuple(inner.output_shape(shape))
    return x


def _residual(graph: Graph, layer: nn.Residual, prefix: str, x: str, shape: Shape) -> str:
    body = graph.add_layer(layer.body, f"{prefix}body.", x, shape)
    side = x if layer.shortcut is None else graph.add_layer(layer.shortcut, f"{prefix}shortcut.", x, shape)
    return graph.add("Add", body, side)


def _conv(graph: Graph, layer: nn.Conv2d | nn.PartialConv2d, prefix: str, x: str, shape: Shape) -> str:
    stride, padding, dilation, *groups = layer.options
    if isinstance(layer, nn.PartialConv2d):
        weight, groups = layer.full_weight(), [1]
    else:
        weight = layer.weight.value
    geometry = conv_geometry("export", shape[1:], weight.shape, stride, padding, dilation, *groups)
    names = [graph.add_weight(f"{prefix}weight", weight), *graph.parameters(prefix, layer.bias)]
    return graph.add(
        "Conv", x, *names, kernel_shape=weight.shape[2:], strides=pair("export", "stride", stride, 1),
        dilations=pair("export", "dilation", dilation, 1), group=groups[0],
        pads=_pads((geometry.pads[:2], geometry.pads[2:])),
    )  # fmt: skip


def _conv_transpose(graph: Graph, layer: nn.ConvTranspose2d, prefix: str, x: str, shape: Shape) -> str:
    stride, _, _, groups, dilation = layer.options
    weight = layer.weight.value
    geometry = conv_transpose_geometry("export", shape[1:], weight.shape, *layer.options)
    strides, dilations = pair("export", "stride", stride, 1), pair("export", "dilation", dilation, 1)
    # a named padding may stand for an output_padding too
    more = [
        axis.padded - (n - 1) * step - dilation * (k - 1) - 1
        for axis, n, step, dilation, k in zip(
            (geometry.rows, geometry.columns), shape[2:], strides, dilations, weight.shape[2:]
        )
    ]
    return graph.add(
        "ConvTranspose", x, *graph.parameters(prefix, layer.weight, layer.bias), kernel_shape=weight.shape[2:],
        strides=strides, dilations=dilations, group=groups, output_padding=more,
        pads=_pads((geometry.pads[:2], geometry.pads[2:])),
    )  # fmt: skip


def _linear(graph: Graph, layer: nn.Linear, prefix: str, x: str, shape: Shape) -> str:
    return graph.add("Gemm", x, *graph.parameters(prefix, layer.weight, layer.bias), transB=1)


def _batch_norm(graph: Graph, layer: nn.BatchNorm2d, prefix: str, x: str, shape: Shape) -> str:
    C = len(layer.running_mean.value)
    affine = graph.parameters(prefix, layer.weight, layer.bias) or [
        graph.add_weight(f"{prefix}{name}", np.full(C, value)) for name, value in (("weight", 1), ("bias", 0))
    ]
    running = graph.parameters(prefix, layer.running_mean, layer.running_var)
    return graph.add("BatchNormalization", x, *affine, *running, epsilon=layer.eps)


def _local_response_norm(graph: Graph, layer: nn.LocalResponseNorm, prefix: str, x: str, shape: Shape) -> str:
    size, alpha, beta, k = layer.options
    # of an even number of channels ONNX has one more behind, fastconv before: the channels are reversed for it
    # (and ONNX Runtime computes odd sizes alone)
    if size % 2 == 0:
        backwards = graph.add_weight(f"{prefix}turn", np.eye(shape[1])[::-1, :, None, None])
        x = graph.add("Conv", x, backwards)
    x = graph.add("LRN", x, size=size, alpha=alpha, beta=beta, bias=k)
    return x if size % 2 else graph.add("Conv", x, backwards)


def _relu6(graph: Graph, layer: nn.ReLU6, prefix: str, x: str, shape: Shape) -> str:
    limits = [graph.add_weight(f"{prefix}{name}", np.array(value)) for name, value in (("low", 0), ("high", 6))]
    return graph.add("Clip", x, *limits)


def _leaky_relu(graph: Graph, layer: nn.LeakyReLU, prefix: str, x: str, shape: Shape) -> str:
    return graph.add("LeakyRelu", x, alpha=layer.negative_slope)


def _softmax(graph: Graph, layer: nn.Softmax, prefix: str, x: str, shape: Shape) -> str:
    return graph.add("Softmax", x, axis=layer.axis)


def _dropout(graph: Graph, layer: nn.Dropout, prefix: str, x: str, shape: Shape) -> str:
    return x


def _max_pool(graph: Graph, layer: nn.MaxPool2d, prefix: str, x: str, shape: Shape) -> str:
    kernel, stride, _, dilation, _ = layer.options
    kernel, dilations = pair("export", "kernel_size", kernel, 1), pair("export", "dilation", dilation, 1)
    strides = kernel if stride is None else pair("export", "stride", stride, 1)
    geometry = pool_geometry("export", shape[-2:], *layer.options)
    pads = without_overhang(geometry.rows, geometry.columns)
    if any(max(sides) >= k for sides, k in zip(pads, kernel)):  # which ONNX Runtime does not take
        x, pads = graph.add_pad(x, pads, -np.inf), ((0, 0), (0, 0))
    return graph.add("MaxPool", x, kernel_shape=kernel, strides=strides, pads=_pads(pads), dilations=dilations)


def _avg_pool(graph: Graph, layer: nn.AvgPool2d, prefix: str, x: str, shape: Shape) -> str:
    kernel, stride, padding, ceil_mode, count_include_pad, divisor = layer.options
    geometry = pool_geometry("export", shape[-2:], kernel, stride, padding, 1, ceil_mode)
    kernel = pair("export", "kernel_size", kernel, 1)
    strides = kernel if stride is None else pair("export", "stride", stride, 1)
    # readers of older files count the windows of ceil_mode otherwise: none may overhang
    pads = without_overhang(geometry.rows, geometry.columns)
    if divisor is not None:
        # ONNX has no divisor, but a convolution of each channel with equal weights
        weight = graph.add_weight(f"{prefix}weight", np.full((shape[1], 1, *kernel), 1 / divisor))
        return graph.add(
            "Conv", x, weight, kernel_shape=kernel, strides=strides, pads=_pads(pads), group=shape[1]
        )  # fmt: skip
    counted = ((geometry.rows.before, geometry.rows.after), (geometry.columns.before, geometry.columns.after))
    if count_include_pad and any(end > after for (_, end), (_, after) in zip(pads, counted)):
        # cells that overhang the padding do not count
        x, count_include_pad = graph.add_pad(x, counted, 0.0), False
        pads = tuple((0, max(end - after, 0)) for (_, end), (_, after) in zip(pads, counted))  # type: ignore[assignment]
    return graph.add(
        "AveragePool", x, kernel_shape=kernel, strides=strides, pads=_pads(pads),
        count_include_pad=int(count_include_pad),
    )  # fmt: skip


def _elementwise(operator: str, **attributes: Any) -> Writer:
    return lambda graph, layer, prefix, x, shape: graph.add(operator, x, **attributes)


WRITERS: dict[type[Layer], Writer] = {
    nn.Sequential: _sequential,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.ReLU: _elementwise("Relu"),
    nn.ReLU6: _relu6,
    nn.Sigmoid: _elementwise("Sigmoid"),
    nn.Tanh: _elementwise("Tanh"),
    nn.Flatten: _elementwise("Flatten", axis=1),
    nn.GlobalAvgPool2d: _elementwise("GlobalAveragePool"),
    nn.PartialConv2d: _conv,
    nn.ConvTranspose2d: _conv_transpose,
    nn.Residual: _residual,
    nn.BatchNorm2d: _batch_norm,
    nn.LocalResponseNorm: _local_response_norm,
    nn.LeakyReLU: _leaky_relu,
    nn.Softmax: _softmax,
    nn.Dropout: _dropout,
}
