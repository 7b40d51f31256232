"""Libraries whose functions are called one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries.base import Call, Library
from benchmarks.problems import Problem


class Fastconv(Library):
    """This package."""

    def __init__(self, threads: int):
        import fastconv

        self.lib, self.version = fastconv, fastconv.__version__
        fastconv.set_num_threads(threads)

    def conv(self, p: Problem) -> Call:
        return lambda: self.lib.conv2d(p.x, p.weight, p.bias, *p.shape.options, layout=p.layout)

    def _conv_gradient(self, p: Problem, which: int) -> Call:
        needs, backward = tuple(i == which for i in range(3)), self.lib.conv2d_backward
        return lambda: backward(p.grad, p.x, p.weight, *p.shape.options, layout=p.layout, needs=needs)[which]

    def conv_input_gradient(self, p: Problem) -> Call:
        return self._conv_gradient(p, 0)

    def conv_weight_gradient(self, p: Problem) -> Call:
        return self._conv_gradient(p, 1)

    conv_nhwc, conv_nhwc_input_gradient, conv_nhwc_weight_gradient = conv, conv_input_gradient, conv_weight_gradient
    other_conv, other_conv_input_gradient, other_conv_weight_gradient = conv, conv_input_gradient, conv_weight_gradient

    def conv_transpose(self, p: Problem) -> Call:
        return lambda: self.lib.conv_transpose2d(p.x, p.weight, p.bias, *_transposed(p))

    def _conv_transpose_gradient(self, p: Problem, which: int) -> Call:
        needs, backward = tuple(i == which for i in range(3)), self.lib.conv_transpose2d_backward
        return lambda: backward(p.grad, p.x, p.weight, *_transposed(p), needs=needs)[which]

    def conv_transpose_input_gradient(self, p: Problem) -> Call:
        return self._conv_transpose_gradient(p, 0)

    def conv_transpose_weight_gradient(self, p: Problem) -> Call:
        return self._conv_transpose_gradient(p, 1)

    def max_pool(self, p: Problem) -> Call:
        return lambda: self.lib.max_pool2d_with_indices(p.x, *p.shape.options)

    def max_pool_gradient(self, p: Problem) -> Call:
        indices = self.lib.max_pool2d_with_indices(p.x, *p.shape.options)[1]
        return lambda: self.lib.max_pool2d_backward(p.grad, indices, p.x.shape)

    def avg_pool(self, p: Problem) -> Call:
        return lambda: self.lib.avg_pool2d(p.x, *p.shape.options)

    def avg_pool_gradient(self, p: Problem) -> Call:
        return lambda: self.lib.avg_pool2d_backward(p.grad, p.x.shape, *p.shape.options)

    def linear(self, p: Problem) -> Call:
        return lambda: self.lib.linear(p.x, p.weight, p.bias)

    def linear_input_gradient(self, p: Problem) -> Call:
        return lambda: self.lib.linear_backward(p.grad, p.x, p.weight, needs=(True, False, False))[0]

    def linear_weight_gradient(self, p: Problem) -> Call:
        return lambda: self.lib.linear_backward(p.grad, p.x, p.weight, needs=(False, True, False))[1]


class Torch(Library):
    """PyTorch, without its record of gradients; they are asked for one at a time, as from fastconv."""

    def __init__(self, threads: int):
        import torch

        self.lib, self.version = torch, torch.__version__
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def _tensors(self, p: Problem) -> tuple[Any, ...]:
        x, weight, bias, grad = (self.lib.from_numpy(array) for array in (p.x, p.weight, p.bias, p.grad))
        if p.layout == "NCHW":
            return x, weight, bias, grad
        # views whose memory is in the order that PyTorch calls channels_last
        return x.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), bias, grad.permute(0, 3, 1, 2)

    def conv(self, p: Problem) -> Call:
        x, weight, bias, _ = self._tensors(p)
        return lambda: self.lib.nn.functional.conv2d(x, weight, bias, *p.shape.options)

    def _conv_gradient(self, p: Problem, which: int, transposed: bool = False) -> Call:
        x, weight, _, grad = self._tensors(p)
        mask, backward = [i == which for i in range(3)], self.lib.ops.aten.convolution_backward
        stride, pad, dilation, groups = p.shape.options
        extra = p.shape.output_padding if transposed else 0
        options = [stride] * 2, [pad] * 2, [dilation] * 2, transposed, [extra] * 2, groups
        return lambda: backward(grad, x, weight, None, *options, mask)[which]

    def conv_input_gradient(self, p: Problem) -> Call:
        return self._conv_gradient(p, 0)

    def conv_weight_gradient(self, p: Problem) -> Call:
        return self._conv_gradient(p, 1)

    conv_nhwc, conv_nhwc_input_gradient, conv_nhwc_weight_gradient = conv, conv_input_gradient, conv_weight_gradient
    other_conv, other_conv_input_gradient, other_conv_weight_gradient = conv, conv_input_gradient, conv_weight_gradient

    def conv_transpose(self, p: Problem) -> Call:
        x, weight, bias, _ = self._tensors(p)
        return lambda: self.lib.nn.functional.conv_transpose2d(x, weight, bias, *_transposed(p))

    def conv_transpose_input_gradient(self, p: Problem) -> Call:
        return self._conv_gradient(p, 0, transposed=True)

    def conv_transpose_weight_gradient(self, p: Problem) -> Call:
        return self._conv_gradient(p, 1, transposed=True)

    def max_pool(self, p: Problem) -> Call:
        x, window = self._tensors(p)[0], _pairs(p)
        return lambda: self.lib.ops.aten.max_pool2d_with_indices(x, *window)

    def max_pool_gradient(self, p: Problem) -> Call:
        x, _, _, grad = self._tensors(p)
        window, aten = _pairs(p), self.lib.ops.aten
        indices = aten.max_pool2d_with_indices(x, *window)[1]
        return lambda: aten.max_pool2d_with_indices_backward(grad, x, *window, [1, 1], False, indices)

    def avg_pool(self, p: Problem) -> Call:
        x = self._tensors(p)[0]
        return lambda: self.lib.nn.functional.avg_pool2d(x, *p.shape.options)

    def avg_pool_gradient(self, p: Problem) -> Call:
        x, _, _, grad = self._tensors(p)
        window, aten = _pairs(p), self.lib.ops.aten
        return lambda: aten.avg_pool2d_backward(grad, x, *window, False, True, None)

    def linear(self, p: Problem) -> Call:
        x, weight, bias, _ = self._tensors(p)
        return lambda: self.lib.nn.functional.linear(x, weight, bias)

    def linear_input_gradient(self, p: Problem) -> Call:
        _, weight, _, grad = self._tensors(p)
        return lambda: grad @ weight

    def linear_weight_gradient(self, p: Problem) -> Call:
        x, _, _, grad = self._tensors(p)
        return lambda: grad.T @ x

    def arrays(self, result: Any, problem: Problem) -> list[np.ndarray]:
        arrays = super().arrays(result, problem)
        return arrays if problem.layout == "NCHW" else [np.moveaxis(array, 1, 3) for array in arrays]


class SciPy(Library):
    """SciPy: its n-dimensional correlation, image by image and kernel by kernel, on one thread whatever is asked."""

    # beyond this a call takes seconds
    MOST = 1e8

    def __init__(self, threads: int):
        import scipy.signal

        self.lib, self.version = scipy.signal, scipy.__version__

    def conv(self, p: Problem) -> Call | None:
        s = p.shape
        if s.flops > self.MOST or s.groups > 1:
            return None
        pads = ((0, 0), (0, 0), (s.pad, s.pad), (s.pad, s.pad))

        def run() -> np.ndarray:
            x, y = np.pad(p.x, pads), np.empty(s.output_shape, np.float32)
            for n in range(s.N):
                for oc in range(s.OC):
                    found = self.lib.correlate(x[n], p.weight[oc], mode="valid")
                    y[n, oc] = found[0, :: s.stride, :: s.stride] + p.bias[oc]
            return y

        return run


def _transposed(p: Problem) -> tuple[int, int, int, int]:
    """Stride, padding, output_padding and groups, in the order in which both libraries take them."""
    return p.shape.stride, p.shape.pad, p.shape.output_padding, p.shape.groups


def _pairs(p: Problem) -> tuple[list[int], ...]:
    return tuple([value] * 2 for value in p.shape.options)
