"""One step of training."""

from __future__ import annotations

import numpy as np

from fastconv._arguments.recycling import keep_memory_for
from fastconv._arguments.scalars import number
from fastconv.errors import ShapeError
from fastconv.functional.loss import cross_entropy_of
from fastconv.nn import Layer, Sequential
from fastconv.optim import Optimizer
from fastconv.optim.clipping import Clip
from fastconv.training.arguments import check_model_and_optimizer, check_parameters, clip_of, with_hint


def train_step(
    model: Layer, x: np.ndarray, labels: np.ndarray, optimizer: Optimizer, *, lr_factor: float = 1.0,
    clip_norm: float | None = None, clip_value: float | None = None,
) -> float:  # fmt: skip
    """One step: forward, softmax cross-entropy, backward, update.

    Args:
        model: any layer whose result for x is logits (N, K).
        x: a batch (N, ...).
        labels: class ids (N,), or one-hot (N, K).
        optimizer: an optimiser of the model's parameters.
        lr_factor: this times the optimiser's learning rate is used.
        clip_norm: the largest norm of all gradients together, as for `clip_grad_norm`; None leaves them as they are.
        clip_value: the largest value of a gradient, as for `clip_grad_value`; None leaves them as they are.

    Returns:
        The mean loss of the batch before the update.

    Raises:
        ValueError: shapes do not fit, a label or a limit is out of range, or both limits are given.

    Example:
        >>> from fastconv.models import lenet5
        >>> from fastconv.optim import SGD
        >>> model = lenet5(rng=0)
        >>> x, labels = np.ones((4, 1, 28, 28), np.float32), np.array([0, 1, 2, 3])
        >>> optimizer = SGD(model.parameters(), lr=0.01)
        >>> first = train_step(model, x, labels, optimizer)
        >>> train_step(model, x, labels, optimizer) < first
        True
    """
    clip = clip_of("train_step", clip_norm, clip_value)
    check_model_and_optimizer("train_step", model, optimizer)
    if not isinstance(x, np.ndarray) or not isinstance(labels, np.ndarray):
        raise TypeError(
            f"train_step: x and labels must be NumPy arrays, got {type(x).__name__} and {type(labels).__name__}"
        )
    if x.ndim < 2 or len(x) == 0:
        raise ShapeError(f"train_step: x must be a batch (N, ...) of at least one sample, got shape {x.shape}")
    factor = number("train_step", "lr_factor", lr_factor)
    return step("train_step", model, x, labels, optimizer, factor, clip, parameters_checked=False)


def step(
    where: str, model: Layer, x: np.ndarray, labels: np.ndarray, optimizer: Optimizer, lr_factor: float, clip: Clip,
    parameters_checked: bool = True,
) -> float:  # fmt: skip
    """The loss before one step, as `train_step`; the optimiser's parameters are checked unless they have been."""
    optimizer.zero_grad()
    keep_memory_for(optimizer)
    network = model if isinstance(model, Sequential) else None
    if network is not None and clip.norm is None and isinstance(optimizer, Optimizer):
        # a step in one call, which is only taken with just the model's parameters; the norm needs all gradients first
        loss = network.learn(x, labels, optimizer, lr_factor, clip.value)
        if loss is not None:
            return loss
    if not parameters_checked:
        check_parameters(where, model, optimizer)
    loss = None if network is None else network.learn(x, labels, owner=optimizer)
    if loss is None:
        forward = model.forward if network is None else network.forward_from_data
        logits, backward = with_hint(forward, x)
        loss, grad = cross_entropy_of(where, "labels", logits, labels)
        backward(grad)
    if isinstance(optimizer, Optimizer):
        optimizer.clip_and_step(clip, lr_factor)
    else:
        clip.apply(optimizer.parameters)
        optimizer.step(lr_factor)
    return loss
