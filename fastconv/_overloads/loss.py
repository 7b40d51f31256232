"""cross_entropy in jitted code: the text that Python runs; the losses are added up one after another."""

from __future__ import annotations

import numpy as np
from numba import types

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._engine.loss import ID_OUTSIDE, check_classes, mean_cross_entropy
from fastconv._overloads.arguments import number
from fastconv._overloads.arrays import ready, zero_of
from fastconv._overloads.kinds import Call, ranked
from fastconv._overloads.register import compiled_as, text
from fastconv.errors import DTypeError, RangeError
from fastconv.kernels.elementwise import one_hot

LOGITS = ranked("2 dimensions (N, K), got {}", 2)


def _target(where: str, name: str, call: Call) -> None:
    ranked("shape (N,) or (N, K), got {} dimensions", 1, 2)(where, name, call)
    if call[name].ndim == 1 and not isinstance(call[name].dtype, types.Integer):
        raise DTypeError(f"{where}: target must hold class ids as integers, got {call[name].dtype}")


@text
def _weights(where, logits, target):
    """The weights of the classes: those that are given, or 1 for that of each id."""
    if target.ndim == 2:
        same_shape(where, "target", target, logits.shape)
        return ready(target, logits.dtype.type(0))
    same_shape(where, "target", target, (logits.shape[0],))
    weights, ids = np.zeros(logits.shape, logits.dtype), ready(target, np.int64(0))
    bad = one_hot(ids, weights)
    if bad >= 0:
        raise RangeError(ID_OUTSIDE, where, "target", logits.shape[1] - 1, ids[bad])
    return weights


@compiled_as(functional.cross_entropy, logits=LOGITS, target=_target)
def _cross_entropy(logits, target, label_smoothing):
    where = "cross_entropy"
    check_classes(where, logits)
    values = ready(logits, zero_of(logits))
    weights, grad = _weights(where, values, target), np.empty(values.shape, values.dtype)
    return mean_cross_entropy(values, weights, number(where, "label_smoothing", label_smoothing), grad), grad
