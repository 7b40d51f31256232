"""The tutorial's helpers that its scripts of networks import."""

from fastconv.compat.mlfromscratch.utils.data_manipulation import (
    batch_iterator,
    get_random_subsets,
    make_diagonal,
    normalize,
    shuffle_data,
    standardize,
    to_categorical,
    to_nominal,
    train_test_split,
)
from fastconv.compat.mlfromscratch.utils.data_operation import accuracy_score, mean_squared_error
from fastconv.compat.mlfromscratch.utils.misc import Plot, bar_widgets

__all__ = [
    "Plot",
    "accuracy_score",
    "bar_widgets",
    "batch_iterator",
    "get_random_subsets",
    "make_diagonal",
    "mean_squared_error",
    "normalize",
    "shuffle_data",
    "standardize",
    "to_categorical",
    "to_nominal",
    "train_test_split",
]
