"""Arguments that every network takes."""

from __future__ import annotations

from fastconv._arguments.sizes import integer


def class_and_channel_counts(where: str, num_classes: int, in_channels: int) -> tuple[int, int]:
    """The classes and the channels, each at least one."""
    return integer(where, "num_classes", num_classes, 1), integer(where, "in_channels", in_channels, 1)
