"""Checks of what the functions of training are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastconv._arguments.hints import GREY
from fastconv._arguments.scalars import number
from fastconv.errors import ShapeError
from fastconv.nn import Layer
from fastconv.optim import Optimizer
from fastconv.optim.clipping import Clip
from fastconv.training.run import Callback, Pair


def check_model(where: str, model: Any) -> None:
    """Raise a TypeError unless there is a model."""
    if not isinstance(model, Layer):
        raise TypeError(f"{where}: model must be a Layer, got {type(model).__name__}")


def check_model_and_optimizer(where: str, model: Any, optimizer: Any) -> None:
    """Raise a TypeError unless there are a model and an optimiser."""
    check_model(where, model)
    if not all(hasattr(optimizer, name) for name in ("parameters", "zero_grad", "step")) or optimizer is model:
        raise TypeError(
            f"{where}: optimizer must be an optimiser of the model's parameters, as SGD(model.parameters(), 0.05), "
            f"got {type(optimizer).__name__}"
        )


def check_parameters(where: str, model: Layer, optimizer: Optimizer) -> None:
    """Raise a ValueError unless the optimiser has parameters of the model, some or all, and no others."""
    own = {id(parameter) for parameter in model.parameters()}
    held = list(optimizer.parameters)
    foreign = sum(id(parameter) not in own for parameter in held)
    if foreign:
        raise ValueError(
            f"{where}: optimizer has {foreign} of {len(held)} parameters that are not the model's; "
            f"make it of the model's parameters, as SGD(model.parameters(), 0.05)"
        )
    if not any(parameter.trainable for parameter in held):
        raise ValueError(
            f"{where}: optimizer must have at least one trainable parameter of the model, "
            f"got {len(held)} parameters, none trainable"
        )


def clip_of(where: str, norm: float | None, value: float | None) -> Clip:
    """What limits the gradients before a step, if anything does."""
    if norm is not None and value is not None:
        raise ValueError(f"{where}: clip_norm={norm} and clip_value={value} were given, at most one was needed")
    return Clip(
        None if norm is None else number(where, "clip_norm", norm, 0),
        None if value is None else number(where, "clip_value", value, 0),
    )


def pair_of(where: str, name: str, value: Any) -> Pair:
    """(x, labels) of at least one sample."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        length = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise TypeError(f"{where}: {name} must be a pair (x, labels), got {type(value).__name__}{length}")
    x, labels = value
    if not isinstance(x, np.ndarray) or not isinstance(labels, np.ndarray):
        raise TypeError(f"{where}: x and labels must be NumPy arrays")
    if x.ndim < 2 or labels.ndim not in (1, 2) or len(x) != len(labels):
        raise ShapeError(f"{where}: labels must be (N,) or (N, K) for the N of x, got {labels.shape} and {x.shape}")
    if len(x) == 0:
        raise ShapeError(f"{where}: {name} has no samples")
    return x, labels


def callbacks_of(where: str, callbacks: Any) -> tuple[Callback, ...]:
    """The functions of a list."""
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        raise TypeError(f"{where}: callbacks must be a list of functions, got {type(callbacks).__name__}")
    callbacks = tuple(callbacks)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"{where}: callbacks must be functions, got {type(callback).__name__}")
    return callbacks


def with_hint(function: Callable, x: np.ndarray) -> Any:
    """function(x), of a model; an error about an x of three axes says which one may be missing.

    An image of one channel is taken by a convolution, as one without a batch, and refused by a layer behind it.
    """
    try:
        return function(x)
    except ShapeError as error:
        if x.ndim == 3 and GREY not in str(error):
            error.args = (f"{error}{GREY}",)
        raise
