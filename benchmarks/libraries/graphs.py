"""Libraries that compile a graph before they run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.libraries.base import Call, Library
from benchmarks.problems import Problem


class OnnxRuntime(Library):
    """ONNX Runtime: inference only. Weights are constants of the graph, which it may lay out anew before the first run.

    Its gradients belong to another build of it.
    """

    def __init__(self, threads: int):
        import onnx
        import onnxruntime

        self.lib, self.onnx, self.version, self.threads = onnxruntime, onnx, onnxruntime.__version__, threads

    def _session(self, p: Problem, node: str, outputs: int = 1, constants: int = 2, **attributes: Any) -> Call:
        helper, names = self.onnx.helper, ["y", "indices"][:outputs]
        types = [self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.INT64]
        values = dict(list({"weight": p.weight, "bias": p.bias}.items())[:constants])
        graph = helper.make_graph(
            [helper.make_node(node, ["x", *values], names, **attributes)], "one",
            [helper.make_tensor_value_info("x", types[0], p.x.shape)],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, types)],
            [self.onnx.numpy_helper.from_array(array, name) for name, array in values.items()],
        )  # fmt: skip
        # versions of the format that were there years ago: the two packages are not released together
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = self.lib.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        session = self.lib.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": p.x})

    def _windows(self, p: Problem) -> dict[str, list[int]]:
        return {"kernel_shape": [p.shape.K] * 2, "strides": [p.shape.stride] * 2, "pads": [p.shape.pad] * 4}

    def conv(self, p: Problem) -> Call:
        return self._session(p, "Conv", group=p.shape.groups, **self._windows(p))

    def conv_transpose(self, p: Problem) -> Call:
        extra = [p.shape.output_padding] * 2
        return self._session(p, "ConvTranspose", group=p.shape.groups, output_padding=extra, **self._windows(p))

    def max_pool(self, p: Problem) -> Call:
        return self._session(p, "MaxPool", outputs=2, constants=0, **self._windows(p))

    def avg_pool(self, p: Problem) -> Call:
        return self._session(p, "AveragePool", constants=0, count_include_pad=1, **self._windows(p))

    def linear(self, p: Problem) -> Call:
        return self._session(p, "Gemm", transB=1)

    def arrays(self, result: Any, problem: Problem) -> list[np.ndarray]:
        values, *indices = super().arrays(result, problem)
        # counted through the whole batch, not within a plane
        return [values, *(array % (problem.shape.H * problem.shape.W) for array in indices)]


class Jax(Library):
    """JAX, each call compiled by XLA. It has no max-pooling with indices; its gradient searches the windows again."""

    def __init__(self, threads: int):
        # XLA counts the processors it may run on, once, and has no other setting for its threads
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        self.lib, self.version = jax, jax.__version__

    def _call(self, function: Callable[..., Any], *arrays: np.ndarray) -> Call:
        compiled, there = self.lib.jit(function), [self.lib.numpy.asarray(array) for array in arrays]
        return lambda: compiled(*there).block_until_ready()

    def _conv(self, p: Problem) -> Callable[[Any, Any], Any]:
        stride, pad, _, groups = p.shape.options
        return lambda x, weight: self.lib.lax.conv_general_dilated(
            x, weight, (stride, stride), ((pad, pad), (pad, pad)), feature_group_count=groups
        )

    def conv(self, p: Problem) -> Call:
        convolve = self._conv(p)
        return self._call(lambda x, w, b: convolve(x, w) + b[:, None, None], p.x, p.weight, p.bias)

    def conv_input_gradient(self, p: Problem) -> Call:
        convolve, turn = self._conv(p), self.lib.linear_transpose
        return self._call(lambda g, w: turn(lambda x: convolve(x, w), p.x)(g)[0], p.grad, p.weight)

    def conv_weight_gradient(self, p: Problem) -> Call:
        convolve, turn = self._conv(p), self.lib.linear_transpose
        return self._call(lambda g, x: turn(lambda w: convolve(x, w), p.weight)(g)[0], p.grad, p.x)

    def conv_transpose(self, p: Problem) -> Call:
        convolve, turn = self._conv(p), self.lib.linear_transpose
        return self._call(
            lambda g, w, b: turn(lambda x: convolve(x, w), p.grad)(g)[0] + b[:, None, None], p.x, p.weight, p.bias
        )

    def _pool(self, p: Problem, start: float, join: Any) -> Callable[[Any], Any]:
        window, strides = (1, 1, p.shape.K, p.shape.K), (1, 1, p.shape.stride, p.shape.stride)
        pads = ((0, 0), (0, 0), (p.shape.pad,) * 2, (p.shape.pad,) * 2)
        return lambda x: self.lib.lax.reduce_window(x, start, join, window, strides, pads)

    def max_pool_gradient(self, p: Problem) -> Call:
        pool = self._pool(p, -np.inf, self.lib.lax.max)
        return self._call(lambda x, g: self.lib.vjp(pool, x)[1](g)[0], p.x, p.grad)

    def avg_pool(self, p: Problem) -> Call:
        pool = self._pool(p, 0.0, self.lib.lax.add)
        return self._call(lambda x: pool(x) / p.shape.K**2, p.x)

    def avg_pool_gradient(self, p: Problem) -> Call:
        pool, turn = self._pool(p, 0.0, self.lib.lax.add), self.lib.linear_transpose
        return self._call(lambda g: turn(pool, p.x)(g / p.shape.K**2)[0], p.grad)

    def linear(self, p: Problem) -> Call:
        return self._call(lambda x, w, b: x @ w.T + b, p.x, p.weight, p.bias)

    def linear_input_gradient(self, p: Problem) -> Call:
        return self._call(lambda g, w: g @ w, p.grad, p.weight)

    def linear_weight_gradient(self, p: Problem) -> Call:
        return self._call(lambda g, x: g.T @ x, p.grad, p.x)
