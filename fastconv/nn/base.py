"""What every layer is: parameters and other state by name, and two ways to be called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fastconv._arguments.arrays import same_shape
from fastconv.errors import DTypeError, ShapeError

Backward: TypeAlias = Callable[[np.ndarray], np.ndarray]


def array_of(layer: Layer, name: str, value: Any) -> np.ndarray:
    """`value` if it is an array, a DTypeError that names the layer otherwise; never of a subclass."""
    if type(value) is np.ndarray:
        return value
    if not isinstance(value, np.ndarray):
        raise DTypeError(f"{type(layer).__name__}: {name} must be a NumPy array, got {type(value).__name__}")
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(
            f"{type(layer).__name__}: {name} is a masked array, whose mask would be ignored; fill it first"
        )
    return np.asarray(value)


def gradient_of(layer: Layer, grad_y: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`grad_y` if it is an array of the shape of the layer's result, otherwise an error that names the layer."""
    grad_y = array_of(layer, "grad_y", grad_y)
    same_shape(type(layer).__name__, "grad_y", grad_y, shape)
    return grad_y


class Parameter:
    """An array that is learnt, and the sum of the gradients that have come in for it.

    Attributes:
        value: the array; optimisers change it in place.
        grad: an array of the same shape and dtype, zero after `zero_grad`.
        grad_array: the array itself, whose content is not valid after `zero_grad` until something is written.
        name: what it is called inside its layer, as `"weight"`.
        trainable: whether gradients are computed for it and optimisers change it.
    """

    def __init__(self, value: np.ndarray, name: str = ""):
        self.value = np.ascontiguousarray(value)
        self.grad_array = np.zeros_like(self.value)
        self._stale = False  # after zero_grad: zeros are written when `grad` is read, not if a gradient comes first
        self.name = name
        self.trainable = True

    @property
    def grad(self) -> np.ndarray:
        """The sum of the gradients that have come in."""
        if self.begin():
            self.grad_array.fill(0)
        return self.grad_array

    @grad.setter
    def grad(self, grad: np.ndarray) -> None:
        self.grad_array, self._stale = grad, False

    def accumulate(self, grad: np.ndarray | None) -> None:
        """Add `grad` to what is there; None adds nothing."""
        if grad is None:
            return
        if self.begin():
            np.add(grad, 0, out=self.grad_array, casting="same_kind")  # as to zeros, without writing them first
        else:
            self.grad_array += grad

    def zero_grad(self) -> None:
        """Forget the gradients that have come in."""
        self._stale = True

    @property
    def stale(self) -> bool:
        """Whether no gradient has come in since `zero_grad`."""
        return self._stale

    def begin(self) -> bool:
        """Whether the content of `grad_array` is to be overwritten, not added to; the caller does so now."""
        stale, self._stale = self._stale, False
        return stale

    def __repr__(self) -> str:
        return f"Parameter({self.name}, {self.value.dtype}, {self.value.shape})"


class Buffer:
    """An array that is part of a layer's state and is not learnt, as a running mean.

    Attributes:
        value: the array; training changes it in place.
        name: what it is called inside its layer, as `"running_mean"`.
        for_resuming: whether only a training that goes on needs it, as the number of random draws so far; it is then
            left out of a `state_dict` that is not `resumable`.
    """

    def __init__(self, value: np.ndarray, name: str = "", for_resuming: bool = False):
        self.value = value
        self.name = name
        self.for_resuming = for_resuming

    def __repr__(self) -> str:
        return f"Buffer({self.name}, {self.value.dtype}, {self.value.shape})"


class Layer:
    """The base of every layer; a layer of your own defines `forward`, and `output_shape` where the shape changes.

    `layer(x)` is inference: it keeps no state and may run in many threads at once. `y, backward = layer.forward(x)` is
    training: `grad_x = backward(grad_y)` adds into each parameter's `grad` and returns the gradient of the input. What
    backward needs lives in that closure, so a layer may be used twice in a model.

    Example:
        >>> class Double(Layer):
        ...     def forward(self, x):
        ...         return 2 * x, lambda grad_y: 2 * grad_y
        >>> y, backward = Double().forward(np.ones(2))
        >>> y, backward(np.ones(2))
        (array([2., 2.]), array([2., 2.]))
    """

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The layer's result for a batch x."""
        return self.forward(x)[0]

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The layer's result for a batch x, and the function that carries a gradient back."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(x)")

    def parts(self) -> Sequence[Layer]:
        """The steps in which it is computed one after another: those of a `Sequential`, or just itself."""
        return (self,)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result for an input of `input_shape`, the batch included."""
        return tuple(input_shape)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter with its path, as `("0.weight", Parameter)`: PyTorch's names."""
        return ((name, value) for name, value in self._named_state() if isinstance(value, Parameter))

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Each buffer with its path, as `("1.running_mean", Buffer)`: PyTorch's names."""
        return ((name, value) for name, value in self._named_state() if isinstance(value, Buffer))

    def _named_state(self) -> Iterator[tuple[str, Parameter | Buffer]]:
        for name, value in self._children():
            if isinstance(value, Layer):
                for inner, found in value._named_state():
                    yield f"{name}.{inner}", found
            else:
                yield name, value

    def _children(self) -> Iterator[tuple[str, Parameter | Buffer | Layer]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter | Buffer | Layer):
                yield name, value

    def parameters(self) -> list[Parameter]:
        """Every parameter, in a fixed order, each once."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def buffers(self) -> list[Buffer]:
        """Every buffer, in a fixed order, each once."""
        return list({id(b): b for _, b in self.named_buffers()}.values())

    def zero_grad(self) -> None:
        """Forget all gradients that have come in."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def freeze(self) -> Layer:
        """Let training leave this layer's parameters as they are; returns the layer."""
        for parameter in self.parameters():
            parameter.trainable = False
        return self

    def state_dict(self, resumable: bool = False) -> dict[str, np.ndarray]:
        """A copy of every parameter's and buffer's array by its path.

        Args:
            resumable: whether to include what only a training that goes on to the same bits needs; PyTorch's state has
                nothing of the kind.
        """
        return {name: value.value.copy() for name, value in self._named_state() if resumable or not _optional(value)}

    def load_state_dict(self, state: Mapping[str, np.ndarray], strict: bool = True) -> None:
        """Copy arrays into the parameters and buffers of the same paths; nothing is changed unless everything fits.

        Args:
            state: arrays by path, as from `state_dict`; dtypes are converted.
            strict: whether every path must be in both, but for those that are only there when `resumable`.

        Raises:
            KeyError: `strict`, and paths are missing or unknown; all are named.
            ShapeError: an array has another shape than its parameter or buffer.
        """
        own = dict(self._named_state())
        missing = sorted(name for name in own.keys() - state.keys() if not _optional(own[name]))
        unknown = sorted(state.keys() - own.keys())
        if strict and (missing or unknown):
            raise KeyError(f"load_state_dict: missing {missing}, unknown {unknown}")
        for name in own.keys() & state.keys():
            if np.shape(state[name]) != own[name].value.shape:
                wanted, got = own[name].value.shape, np.shape(state[name])
                raise ShapeError(f"load_state_dict: {name} must have shape {wanted}, got {got}")
        for name in own.keys() & state.keys():
            own[name].value[...] = state[name]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def check_images(layer: Layer, input_shape: tuple[int, ...]) -> None:
    """Raise a ShapeError unless the shape is one of images (N, C, H, W), or of one image (C, H, W)."""
    if len(input_shape) not in (3, 4):
        where = type(layer).__name__
        raise ShapeError(f"{where}: takes 4 dimensions, or 3 without a batch, got an input of shape {input_shape}")


def _optional(value: Parameter | Buffer) -> bool:
    return isinstance(value, Buffer) and value.for_resuming
