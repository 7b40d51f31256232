"""cross_entropy in jitted code: the kernel that Python calls; the losses are added up one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._overloads import arguments
from fastconv._overloads.arrays import reader
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked, strict_helper
from fastconv.errors import DTypeError, RangeError, ShapeError
from fastconv.functional.loss import ID_OUTSIDE
from fastconv.kernels import elementwise

per_row = elementwise.cross_entropy


@linked
def one_hot(where, logits, ids):
    """The weights (N, K) of the classes that ids (N,) name."""
    N, K = logits.shape
    weights = np.zeros((N, K), logits.dtype)
    for n in range(N):
        if ids[n] < 0 or ids[n] >= K:
            raise RangeError(ID_OUTSIDE, where, "target", K - 1, ids[n])
        weights[n, ids[n]] = 1
    return weights


@linked
def mean_loss(logits, weights, smoothing):
    """The mean of the losses, and its gradient (N, K); of each weight the share `smoothing` is for all classes."""
    N, K = logits.shape
    losses, grad, number = np.empty(N), np.empty(logits.shape, logits.dtype), logits.dtype.type
    if N == 0:
        return 0.0, grad
    wanted = weights * number(1 - smoothing) + number(smoothing / K) if smoothing > 0 else weights
    per_row(logits, wanted, losses, grad)
    return 0.0 + losses.sum() / N, grad


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

    smoothing = arguments.number(where, "label_smoothing", label_smoothing, 0, 1)

    def from_ids(logits, target, label_smoothing):
        _check_classes(where, logits)
        same_shape(where, "target", target, (logits.shape[0],))
        values = read(logits)
        return mean_loss(values, one_hot(where, values, read_target(target)), smoothing(label_smoothing))

    def from_weights(logits, target, label_smoothing):
        _check_classes(where, logits)
        same_shape(where, "target", target, logits.shape)
        return mean_loss(read(logits), read_target(target), smoothing(label_smoothing))

    return from_ids if ids else from_weights


@strict_helper
def _check_classes(where, logits):
    if logits.shape[1] < 1:
        raise ShapeError("{}: logits must have shape (N, K) with K at least 1, got {}", where, logits.shape)
