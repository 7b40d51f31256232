"""Training and evaluation: `train_step` for own loops, `fit` for whole runs."""

from fastconv.history import History
from fastconv.training.loop import (
    EVALUATION_BATCH,
    Callback,
    Pair,
    Position,
    Run,
    evaluate,
    fit,
    predict,
    train_step,
)

__all__ = [
    "EVALUATION_BATCH",
    "Callback",
    "History",
    "Pair",
    "Position",
    "Run",
    "evaluate",
    "fit",
    "predict",
    "train_step",
]
