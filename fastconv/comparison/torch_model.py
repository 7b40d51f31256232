"""A model's twin in PyTorch, made layer by layer, with the same weights under the same names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fastconv import nn
from fastconv.errors import UnsupportedError

# the classes in torch.nn that take a layer's options as they stand
_BY_OPTIONS: dict[type[nn.Layer], str] = {nn.AvgPool2d: "AvgPool2d", nn.LocalResponseNorm: "LocalResponseNorm"}
_PLAIN: dict[type[nn.Layer], str] = {
    nn.Flatten: "Flatten", nn.ReLU: "ReLU", nn.ReLU6: "ReLU6", nn.Sigmoid: "Sigmoid", nn.Tanh: "Tanh",
}  # fmt: skip


def torch_twin(model: nn.Layer) -> Any:
    """A `torch.nn.Module` that computes what a model does, in training and in inference, with a copy of its weights.

    Args:
        model: layers of `fastconv.nn`, in `Sequential` and `Residual`.

    Raises:
        UnsupportedError: a layer has no counterpart.
        ImportError: PyTorch is not installed.
    """
    torch = importlib.import_module("torch")
    module = _Converter(torch).of(model)
    state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    # a convolution with a table of connections holds all weights, and has had its own
    own = [name for name in module.state_dict() if "parametrizations" not in name.split(".")]
    module.load_state_dict({name: state[name] for name in own}, strict=False)
    return module


class _Converter:
    """Layers to modules; the classes that PyTorch does not have are made here, as it is imported when it is used."""

    def __init__(self, torch: Any):
        self.torch, self.nn = torch, torch.nn

        class Residual(torch.nn.Module):
            def __init__(self, body: Any, shortcut: Any):
                super().__init__()
                self.body, self.shortcut = body, shortcut

            def forward(self, x: Any) -> Any:
                return self.body(x) + (x if self.shortcut is None else self.shortcut(x))

        class Masked(torch.nn.Module):
            def __init__(self, mask: Any):
                super().__init__()
                self.mask = mask

            def forward(self, weight: Any) -> Any:
                return weight * self.mask

        self.residual, self.masked = Residual, Masked

    def of(self, layer: nn.Layer) -> Any:
        """The module for a layer; a subclass may do something else, so there is none for it."""
        kind = type(layer)
        if kind in _PLAIN:
            return getattr(self.nn, _PLAIN[kind])()
        if kind in _BY_OPTIONS:
            return getattr(self.nn, _BY_OPTIONS[kind])(*layer.options)  # type: ignore[attr-defined]
        make = getattr(self, f"_{kind.__name__}", None) if kind.__module__.startswith("fastconv.nn.") else None
        if make is None:
            raise UnsupportedError(f"torch_twin: there is no counterpart of {layer!r}")
        found: Callable[[Any], Any] = make
        return found(layer)

    def _Sequential(self, model: nn.Sequential) -> Any:
        return self.nn.Sequential(*map(self.of, model))

    def _Residual(self, layer: nn.Residual) -> Any:
        return self.residual(self.of(layer.body), None if layer.shortcut is None else self.of(layer.shortcut))

    def _Conv2d(self, layer: nn.Conv2d) -> Any:
        OC, C, *kernel = layer.weight.value.shape
        stride, padding, dilation, groups = layer.options
        return self._convolution(layer, (C * groups, OC, tuple(kernel)), (stride, padding, dilation, groups))

    def _PartialConv2d(self, layer: nn.PartialConv2d) -> Any:
        full, torch = layer.full_weight(), self.torch
        OC, C, *kernel = full.shape
        module = self._convolution(layer, (C, OC, tuple(kernel)), (*layer.options, 1))
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(full))
        mask = self.masked(torch.from_numpy(layer.connections[:, :, None, None].astype(full.dtype)))
        torch.nn.utils.parametrize.register_parametrization(module, "weight", mask)
        return module

    def _convolution(self, layer: Any, sizes: tuple[Any, ...], options: tuple[Any, ...]) -> Any:
        padding = options[1]
        if not (isinstance(padding, int) or padding in ("same", "valid") or _pair(padding)):
            raise UnsupportedError(f"torch_twin: PyTorch has no padding {padding!r}, which {layer!r} has")
        return self.nn.Conv2d(*sizes, *options, bias=layer.bias is not None)

    def _Linear(self, layer: nn.Linear) -> Any:
        OUT, IN = layer.weight.value.shape
        return self.nn.Linear(IN, OUT, bias=layer.bias is not None)

    def _BatchNorm2d(self, layer: nn.BatchNorm2d) -> Any:
        C = len(layer.running_mean.value)
        return self.nn.BatchNorm2d(C, layer.eps, layer.momentum, layer.weight is not None)

    def _MaxPool2d(self, layer: nn.MaxPool2d) -> Any:
        kernel_size, stride, padding, dilation, ceil_mode = layer.options
        return self.nn.MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)

    def _GlobalAvgPool2d(self, layer: nn.GlobalAvgPool2d) -> Any:
        return self.nn.AdaptiveAvgPool2d(1)

    def _Dropout(self, layer: nn.Dropout) -> Any:
        return self.nn.Dropout(layer.p)

    def _LeakyReLU(self, layer: nn.LeakyReLU) -> Any:
        return self.nn.LeakyReLU(layer.negative_slope)

    def _Softmax(self, layer: nn.Softmax) -> Any:
        return self.nn.Softmax(layer.axis)


def _pair(padding: Any) -> bool:
    return isinstance(padding, tuple) and len(padding) == 2 and all(isinstance(n, int) for n in padding)
