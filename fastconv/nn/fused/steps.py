"""The layers of a `Sequential` as the steps in which they are computed: runs of neighbours, or a layer alone."""

from __future__ import annotations

from collections.abc import Sequence

from fastconv.nn.base import Layer
from fastconv.nn.conv import Conv2d
from fastconv.nn.fused.groups import KINDS
from fastconv.nn.fused.interleaved import Together
from fastconv.nn.fused.joined import Joined
from fastconv.nn.fused.normalised import BOUNDS, Normalised
from fastconv.nn.norm import BatchNorm2d
from fastconv.nn.residual import Residual


def together(layers: Sequence[Layer]) -> list[Layer]:
    """The layers, those next to each other that may be computed together in one run.

    A subclass may do something else and is left alone.
    """
    steps: list[Layer] = []
    run: list[Layer] = []  # for the next `Together`
    rest = list(layers)[::-1]
    while rest:
        layer = rest.pop()
        if type(layer) in KINDS and not (type(layer) is Conv2d and rest and type(rest[-1]) is BatchNorm2d):
            run.append(layer)
        else:
            steps += [*_together(run), _step(layer, rest)]
            run = []
    return [*steps, *_together(run)]


def _step(layer: Layer, rest: list[Layer]) -> Layer:
    """A layer as a step, with those of the `rest`, of which the next is the last, that are computed with it."""
    conv = None
    if type(layer) is Conv2d:
        conv, layer = layer, rest.pop()
    if type(layer) is BatchNorm2d:
        return Normalised(conv, layer, _activation(rest))
    return Joined(layer, _activation(rest)) if type(layer) is Residual else layer


def _activation(rest: list[Layer]) -> Layer | None:
    return rest.pop() if rest and type(rest[-1]) in BOUNDS else None


def _together(run: Sequence[Layer]) -> list[Layer]:
    return [Together(run)] if run else []
