"""Training and evaluation: `train_step` for own loops, `fit` for whole runs."""

from fastconv.history import History
from fastconv.training.evaluation import EVALUATION_BATCH, evaluate, predict
from fastconv.training.loop import fit
from fastconv.training.run import Callback, Pair, Position, Run
from fastconv.training.step import train_step

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
