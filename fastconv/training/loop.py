"""Whole runs of training: epochs of shuffled minibatches, evaluation after each, and their history."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable

import numpy as np

from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import ceil_div, integer
from fastconv.data import minibatches
from fastconv.errors import DivergenceError
from fastconv.history import History
from fastconv.nn import Layer
from fastconv.nn.init import Rng, generator
from fastconv.optim import Optimizer, constant
from fastconv.optim.clipping import Clip
from fastconv.training.arguments import (
    callbacks_of,
    check_model_and_optimizer,
    check_parameters,
    clip_of,
    pair_of,
)
from fastconv.training.evaluation import loss_and_accuracy
from fastconv.training.rollback import GoodState
from fastconv.training.run import Callback, Pair, Position, Run
from fastconv.training.step import step


def fit(
    model: Layer, train: Pair, validation: Pair | None = None, *, optimizer: Optimizer, epochs: int = 1,
    batch_size: int = 64, rng: Rng = None, schedule: Callable[[float], float] = constant,
    callbacks: Iterable[Callback] = (), history: History | None = None, position: Position | None = None,
    clip_norm: float | None = None, clip_value: float | None = None,
) -> History:  # fmt: skip
    """Train a model with shuffled minibatches.

    Args:
        model: any layer whose result is logits (N, K).
        train: (x, labels).
        validation: (x, labels) evaluated after every epoch, or None.
        optimizer: an optimiser of the model's parameters.
        epochs: passes over the data, counted from the very first.
        batch_size: images a step.
        rng: shuffles; epoch e is shuffled by a generator seeded with (seed, e), so that a run can be resumed.
        schedule: a factor for the learning rate from the share of the run that is done, 0 to 1.
        callbacks: functions called after every step and every epoch with a `Run`; one that returns True ends the run.
        history: the history to go on with.
        position: the position to go on from, with a seed for `rng` equal to the first run's; it is kept up to date.
        clip_norm: as for `train_step`.
        clip_value: as for `train_step`.

    Returns:
        The history.

    Raises:
        DivergenceError: the loss became NaN or infinite; the model then holds the last weights that gave a finite one.
        ValueError: sizes do not fit, a limit is out of range, or both limits are given.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> from fastconv.data import load_digits
        >>> from fastconv.models import lenet5
        >>> from fastconv.optim import SGD
        >>> train, test = load_digits()
        >>> model = lenet5(rng=0)
        >>> history = fit(model, train, test, optimizer=SGD(model.parameters(), 0.05, 0.9), epochs=2, rng=0)
        >>> history.rows[-1]["test_accuracy"] > 0.5
        True
    """
    check_model_and_optimizer("fit", model, optimizer)
    check_parameters("fit", model, optimizer)
    x, labels = pair_of("fit", "train", train)
    if validation is not None:
        validation = pair_of("fit", "validation", validation)
    epochs = integer("fit", "epochs", epochs, 0)
    clip = clip_of("fit", clip_norm, clip_value)
    steps = ceil_div(len(x), integer("fit", "batch_size", batch_size, 1))
    source = generator(rng, "fit")
    seed = int(rng) if isinstance(rng, int | np.integer) else int(source.integers(2**62))
    if not callable(schedule):
        raise TypeError(f"fit: schedule must be a function, as of fastconv.optim, got {type(schedule).__name__}")
    callbacks = callbacks_of("fit", callbacks)
    history = History() if history is None else history  # an empty one is false
    run = Run(model, optimizer, history, position or Position(), steps, epochs)
    state = GoodState(run)
    while run.position.epoch < epochs:
        order = np.random.default_rng([seed, run.position.epoch])
        batches = itertools.islice(minibatches(x, labels, batch_size, order), run.position.step, None)
        if _epoch(run, batches, schedule, clip, state, callbacks):
            break
        _end_epoch(run, validation)
        if any([callback(run) for callback in callbacks]):
            break
    return run.history


def _epoch(
    run: Run, batches: Iterable[Pair], schedule: Callable[[float], float], clip: Clip, state: GoodState,
    callbacks: tuple[Callback, ...],
) -> bool:  # fmt: skip
    """Take the rest of an epoch's steps; whether a callback has ended the run before the last of them."""
    position = run.position
    run.epoch_ended = False
    for x, labels in batches:
        start = time.perf_counter()
        done = (position.epoch + position.step / run.steps_per_epoch) / run.epochs
        factor = number("fit", "what schedule returns", schedule(done))
        state.remember()
        run.loss = step("fit", run.model, x, labels, run.optimizer, factor, clip)
        if not math.isfinite(run.loss):
            where = f"step {position.step + 1} of epoch {position.epoch + 1}"
            state.restore()
            raise DivergenceError(
                f"fit: the loss is {run.loss} at {where}; the model "
                f"holds the last weights that gave a finite loss; a smaller learning rate may help"
            )
        state.approve()
        position.step += 1
        position.loss += run.loss * len(x)
        position.images += len(x)
        position.seconds += time.perf_counter() - start
        if any([callback(run) for callback in callbacks]):
            return True
    return False


def _end_epoch(run: Run, validation: Pair | None) -> None:
    position, start = run.position, time.perf_counter()
    before = run.history.rows[-1]["seconds"] if run.history.rows else 0.0
    training = max(position.seconds - before, 1e-9)
    test_loss = test_accuracy = None
    if validation is not None:
        test_loss, test_accuracy = loss_and_accuracy("fit", "validation's labels", run.model, *validation)
    position.seconds += time.perf_counter() - start
    row = {
        "epoch": position.epoch + 1,
        "train_loss": position.loss / max(position.images, 1),
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "seconds": position.seconds,
        "images_per_second": position.images / training,
    }
    run.history.rows.append(row)
    position.epoch, position.step, position.loss, position.images = position.epoch + 1, 0, 0.0, 0
    run.epoch_ended = True
