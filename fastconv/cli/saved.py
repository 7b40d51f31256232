"""Models from checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.checkpoint import Checkpoint, load_checkpoint
from fastconv.errors import DataError
from fastconv.models import MODELS
from fastconv.nn import Sequential


def build(settings: dict[str, Any]) -> Sequential:
    """A new model as a run's settings describe it."""
    if settings.get("model") not in MODELS:
        raise DataError(f"the checkpoint names a model {settings.get('model')!r}, which does not exist")
    return MODELS[settings["model"]](
        num_classes=settings["classes"], in_channels=settings["shape"][0], rng=settings["seed"],
        dtype=np.dtype(settings["dtype"]),
    )  # fmt: skip


def restored(path: str) -> tuple[Sequential, dict[str, Any], Checkpoint]:
    """The model of a checkpoint, its settings, and the checkpoint."""
    checkpoint = load_checkpoint(path)
    if not {"classes", "shape", "model", "dtype", "seed", "data"} <= checkpoint.settings.keys():
        raise DataError(f"{path}: holds no settings of a model; it must come from fastconv train --save")
    model = build(checkpoint.settings)
    model.load_state_dict(checkpoint.model)
    return model, checkpoint.settings, checkpoint
