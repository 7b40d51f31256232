"""What a layer's backward pass needs of its forward pass."""

from __future__ import annotations

from typing import Any


def needed(layer: Any, kept: Any) -> Any:
    """What the forward pass kept, or a ValueError that there was none."""
    if kept is None:
        raise ValueError(f"{type(layer).__name__}: backward needs a forward before it")
    return kept
