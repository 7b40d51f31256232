"""Where in a model an error came from, written in front of its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastconv.errors import DTypeError
from fastconv.nn.base import Layer
from fastconv.nn.fused.run import layers_of


def named(error: Exception, steps: Sequence[Layer], failed: int, shape: Any) -> None:
    """Write the layer that failed in front of the error's text; its type and the text behind stay as they are.

    Args:
        error: what was raised.
        steps: the layers of a `Sequential`, or runs of them that are computed together.
        failed: which step has raised it.
        shape: the shape of that step's input.
    """
    first = sum(len(layers_of(step)) for step in steps[:failed])
    layers = layers_of(steps[failed])
    which = _refuses(layers, shape)
    if isinstance(error, DTypeError):  # flattening and the like take any dtype
        which = next((i for i, layer in enumerate(layers) if hasattr(layer, "weight")), 0)
    if which is None:
        prefix(error, f"Sequential: layers {first} to {first + len(layers) - 1}", "Sequential")
    else:
        kind = type(layers[which]).__name__
        prefix(error, f"Sequential: layer {first + which}, {kind}", kind)


def prefix(error: Exception, place: str, kind: str) -> None:
    """Put the place, whose last word is the layer's kind, in front of the text, where there is just a text."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        text = error.args[0].removeprefix(f"{kind}: ")
        error.args = (f"{place}: {text}",)


def _refuses(layers: tuple[Layer, ...], shape: Any) -> int | None:
    """The layer of a run whose input has a shape that it does not take; None: the shapes fit."""
    for i, layer in enumerate(layers):
        if len(layers) == 1:
            return 0
        try:
            shape = layer.output_shape(tuple(shape))
        except Exception:  # whatever a layer raises for a shape
            return i
    return None
