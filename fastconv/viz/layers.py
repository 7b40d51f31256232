"""What layers have learnt, and what they make of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.sizes import ceil_div, integer
from fastconv.errors import ShapeError
from fastconv.nn import Layer, Sequential
from fastconv.viz.figures import new_axes
from fastconv.viz.pictures import tiles
from fastconv.viz.words import lettering

IN_A_ROW = 16


def plot_filters(layer: Layer | np.ndarray, ax: Any = None, *, language: str = "en") -> Any:
    """The filters of a convolution: a row for each, with a column for each channel it reads.

    Zero is grey, positive values are lighter, negative ones darker. Filters of one channel stand in a square.

    Args:
        layer: a layer with a weight, as `Conv2d`, or the weight itself, (OC, C, KH, KW).
        ax: a matplotlib Axes, or None for one of a new figure.
        language: of the title, "en" or "zh".

    Returns:
        The Axes.

    Raises:
        ShapeError: the weight has not four axes, or one of them is empty.
        TypeError: the layer has no weight.
        MissingExtraError: matplotlib is not installed.
    """
    where = "plot_filters"
    weight = getattr(getattr(layer, "weight", None), "value", layer)
    if isinstance(weight, Layer):
        raise TypeError(f"{where}: layer must have a weight, {layer!r} has none")
    weight = arrays.numeric(where, "layer", weight)
    if weight.ndim != 4 or not weight.size:
        raise ShapeError(f"{where}: layer's weight must have shape (OC, C, KH, KW), none of them 0, got {weight.shape}")
    OC, C, KH, KW = weight.shape
    largest = float(np.abs(weight[np.isfinite(weight)]).max(initial=0))
    return tiles(
        where, "layer", weight.reshape(OC * C, KH, KW), ax, columns=None if C == 1 else C,
        title=lettering(language)("filters"), limit=largest or 1.0, language=language,
    )  # fmt: skip


def plot_feature_maps(
    model: Sequential, picture: np.ndarray, layers: Sequence[int] | None = None, axes: Sequence[Any] | None = None, *,
    own_scale: bool = False, language: str = "en",
) -> list[Any]:  # fmt: skip
    """What is left of a picture after each layer, map by map.

    Args:
        model: a trained model.
        picture: (C, H, W), or (H, W) for a model of one channel.
        layers: which, by index; None for all whose results are maps (C, H, W).
        axes: a matplotlib Axes for each, or None for those of a new figure.
        own_scale: whether black and white are each map's smallest and largest value, instead of the layer's.
        language: of the titles, "en" or "zh".

    Returns:
        The Axes, one for each layer.

    Raises:
        ShapeError: the picture has another shape, or there are more or fewer Axes than layers.
        ValueError: there is no such layer, or its results are no maps.
        TypeError: an argument is of the wrong kind.
        MissingExtraError: matplotlib is not installed.
    """
    where = "plot_feature_maps"
    if not isinstance(model, Sequential):
        raise TypeError(f"{where}: model must be a Sequential, got {type(model).__name__}")
    maps = _maps(model, arrays.numeric(where, "picture", picture))
    if not maps:
        raise ValueError(f"{where}: model must have a layer that gives maps (N, C, H, W), {model!r} has none")
    chosen = list(maps) if layers is None else [integer(where, "layers", i) for i in layers]
    if not chosen or not set(chosen) <= maps.keys():
        raise ValueError(f"{where}: layers must be some of {', '.join(map(str, maps))}, which give maps, got {layers}")
    rows = [ceil_div(len(maps[i]), IN_A_ROW) for i in chosen]
    if axes is None:
        axes = new_axes(len(chosen), 10, sum(rows) + 0.3 * len(chosen), rows)
    if len(axes) != len(chosen):
        raise ShapeError(f"{where}: axes must be as many as the layers, {len(chosen)}, got {len(axes)}")
    words = lettering(language)
    for i, ax in zip(chosen, axes):
        title = f"{words('layer {}', i)}: {type(model[i]).__name__}, {' x '.join(map(str, maps[i].shape))}"
        tiles(where, "maps", maps[i], ax, columns=IN_A_ROW, title=title, own_scale=own_scale, language=language)
    return list(axes)


def _maps(model: Sequential, picture: np.ndarray) -> dict[int, np.ndarray]:
    """The maps (C, H, W) after each layer that gives some."""
    if picture.ndim not in (2, 3):
        raise ShapeError(f"plot_feature_maps: picture must have shape (C, H, W) or (H, W), got {picture.shape}")
    dtype = next((p.value.dtype for p in model.parameters()), np.dtype(np.float32))
    x = picture.reshape(1, -1, *picture.shape[-2:]).astype(dtype)
    found = {}
    for i, layer in enumerate(model):
        x = layer(x)
        if x.ndim == 4:
            found[i] = x[0]
    return found
