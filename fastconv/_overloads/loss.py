"""cross_entropy in jitted code: the text that Python runs; the losses are added up one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.loss import ID_OUTSIDE, check_classes, mean_cross_entropy
from fastconv._overloads import arguments
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv.errors import DTypeError, RangeError, ShapeError
from fastconv.kernels.elementwise import one_hot


@compiled_as(functional.cross_entropy)
def _cross_entropy(logits: Any, target: Any, label_smoothing: Any) -> Any:
    where = "cross_entropy"
    arguments.rank(where, "logits", arguments.array(where, "logits", logits), 2, "(N, K)")
    if arguments.array(where, "target", target).ndim not in (1, 2):
        raise ShapeError(f"{where}: target must have shape (N,) or (N, K), got {target.ndim} dimensions")
    ids = target.ndim == 1
    if ids and not isinstance(target.dtype, types.Integer):
        raise DTypeError(f"{where}: target must hold class ids as integers, got {target.dtype}")
    dtype = arguments.result_dtype(logits)
    read, read_target = reader(logits, dtype), reader(target, np.dtype(np.int64) if ids else dtype)
    share_of = arguments.number(where, "label_smoothing", label_smoothing, 0, 1)

    def from_ids(logits, target):
        same_shape(where, "target", target, (logits.shape[0],))
        weights, named = np.zeros(logits.shape, logits.dtype), read_target(target)
        bad = one_hot(named, weights)
        if bad >= 0:
            raise RangeError(ID_OUTSIDE, where, "target", logits.shape[1] - 1, named[bad])
        return weights

    def from_weights(logits, target):
        same_shape(where, "target", target, logits.shape)
        return read_target(target)

    weights_of = register_jitable(from_ids if ids else from_weights)

    def compiled(logits, target, label_smoothing):
        check_classes(where, logits)
        values = read(logits)
        weights, grad = weights_of(values, target), np.empty(values.shape, values.dtype)
        return mean_cross_entropy(values, weights, share_of(label_smoothing), grad), grad

    return compiled
