"""Arguments that networks have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv._arguments.sizes import Int2, integer, pair
from fastconv.errors import ShapeError
from fastconv.nn import Dropout, Sequential


def class_and_channel_counts(where: str, num_classes: int, in_channels: int) -> tuple[int, int]:
    """The classes and the channels, each at least one."""
    return integer(where, "num_classes", num_classes, 1), integer(where, "in_channels", in_channels, 1)


def widths(where: str, channels: Sequence[Any], count: int | None = None) -> list[int]:
    """The channels of layers or blocks, each at least one: at least one of them, or just so many."""
    if len(channels) != count if count else not channels:
        raise ShapeError(f"{where}: channels must be {count or 'one or more'} integers, got {channels!r}")
    return [integer(where, "channels", n, 1) for n in channels]


def dropouts(where: str, shares: Any, count: int, source: np.random.Generator) -> list[Dropout]:
    """So many layers, each with its share."""
    if not isinstance(shares, Sequence) or len(shares) != count:
        raise ValueError(f"{where}: dropout must be {count} numbers, got {shares!r}")
    return [Dropout(share, rng=source) for share in shares]


def flat_size(where: str, features: Sequential, in_channels: int, image_size: Int2) -> int:
    """How many numbers `features`, which end with a Flatten, make of an image; an error if nothing is left."""
    H, W = pair(where, "image_size", image_size, 1)
    try:
        return features.output_shape((1, in_channels, H, W))[1]
    except ShapeError as error:
        raise ShapeError(f"{where}: takes no images of {H} x {W}: {error}") from None
