"""Training: one step, whole runs with their history, evaluation, prediction."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fastconv import functional as F
from fastconv._arguments.hints import GREY
from fastconv._arguments.scalars import number
from fastconv._arguments.sizes import integer
from fastconv.data import minibatches
from fastconv.errors import DivergenceError, ShapeError
from fastconv.functional.loss import cross_entropy_of
from fastconv.history import History
from fastconv.nn import Layer, Parameter, Sequential
from fastconv.nn.init import Rng, generator
from fastconv.optim import SGD, Optimizer, clip_grad_norm, clip_grad_value, constant
from fastconv.training.rollback import GoodState

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]
Clip: TypeAlias = Callable[[list[Parameter]], object] | None

EVALUATION_BATCH = 256


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
    clip = _clip("train_step", clip_norm, clip_value)
    _kinds("train_step", model, optimizer)
    if not isinstance(x, np.ndarray) or not isinstance(labels, np.ndarray):
        raise TypeError(
            f"train_step: x and labels must be NumPy arrays, got {type(x).__name__} and {type(labels).__name__}"
        )
    if x.ndim < 2 or len(x) == 0:
        raise ShapeError(f"train_step: x must be a batch (N, ...) of at least one sample, got shape {x.shape}")
    factor = number("train_step", "lr_factor", lr_factor)
    return _step("train_step", model, x, labels, optimizer, factor, clip, checked=False)


def _step(
    where: str, model: Layer, x: np.ndarray, labels: np.ndarray, optimizer: Optimizer, lr_factor: float, clip: Clip,
    checked: bool = True,
) -> float:  # fmt: skip
    optimizer.zero_grad()
    loss = None
    if isinstance(model, Sequential):
        if clip is None and isinstance(optimizer, SGD):
            loss = model.learn(x, labels, optimizer, lr_factor)
            if loss is not None:
                return loss
        if not checked:  # a step in one call is only taken with just the model's parameters
            _trains(where, model, optimizer)
        loss = model.learn(x, labels)
    elif not checked:
        _trains(where, model, optimizer)
    if loss is None:
        run = model.forward_from_data if isinstance(model, Sequential) else model.forward
        logits, backward = _computed(run, x)
        loss, grad = cross_entropy_of(where, "labels", logits, labels)
        backward(grad)
    if clip is not None:
        clip(optimizer.parameters)
    optimizer.step(lr_factor)
    return loss


def _clip(where: str, norm: float | None, value: float | None) -> Clip:
    """What is done to the gradients before a step, if anything."""
    if norm is not None and value is not None:
        raise ValueError(f"{where}: clip_norm={norm} and clip_value={value} were given, at most one was needed")
    if norm is not None:
        return functools.partial(clip_grad_norm, max_norm=number(where, "clip_norm", norm, 0))
    if value is not None:
        return functools.partial(clip_grad_value, clip_value=number(where, "clip_value", value, 0))
    return None


@dataclass
class Position:
    """Where a run stands: enough, with the weights and the optimiser's state, to go on to the same bits.

    Attributes:
        epoch: epochs completed.
        step: steps taken in the current epoch.
        loss: sum of the losses of the images seen in it.
        images: how many those are.
        seconds: time spent so far.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    images: int = 0
    seconds: float = 0.0


@dataclass
class Run:
    """What a callback sees.

    Attributes:
        model: the model in training.
        optimizer: its optimiser.
        history: the epochs that are complete.
        position: where the run stands.
        steps_per_epoch: the number of batches.
        epochs: the number wanted.
        loss: the last batch's loss.
        epoch_ended: whether this call is the one at the end of an epoch (history has a new row) or after a step.
    """

    model: Layer
    optimizer: Optimizer
    history: History
    position: Position
    steps_per_epoch: int
    epochs: int
    loss: float = math.nan
    epoch_ended: bool = False


Callback: TypeAlias = Callable[[Run], bool | None]


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
    _kinds("fit", model, optimizer)
    _trains("fit", model, optimizer)
    x, labels = _pair("fit", "train", train)
    if validation is not None:
        validation = _pair("fit", "validation", validation)
    epochs = integer("fit", "epochs", epochs, 0)
    clip = _clip("fit", clip_norm, clip_value)
    steps = -(-len(x) // integer("fit", "batch_size", batch_size, 1))
    source = generator(rng, "fit")
    seed = int(rng) if isinstance(rng, int | np.integer) else int(source.integers(2**62))
    if not callable(schedule):
        raise TypeError(f"fit: schedule must be a function, as of fastconv.optim, got {type(schedule).__name__}")
    callbacks = _functions(callbacks)
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


def _functions(callbacks: Any) -> tuple[Callback, ...]:
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        raise TypeError(f"fit: callbacks must be a list of functions, got {type(callbacks).__name__}")
    callbacks = tuple(callbacks)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"fit: callbacks must be functions, got {type(callback).__name__}")
    return callbacks


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
        run.loss = _step("fit", run.model, x, labels, run.optimizer, factor, clip)
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
        test_loss, test_accuracy = _evaluate("fit", "validation's labels", run.model, *validation)
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


def evaluate(
    model: Layer, x: np.ndarray, labels: np.ndarray, batch_size: int = EVALUATION_BATCH
) -> tuple[float, float]:
    """The mean cross-entropy and the accuracy of a model.

    Args:
        model: any layer whose result is logits (N, K).
        x: (N, ...).
        labels: class ids (N,) or one-hot (N, K).
        batch_size: images at a time.

    Returns:
        (loss, accuracy), accuracy from 0 to 1.

    Raises:
        ValueError: there are no samples, or sizes do not fit.

    Example:
        >>> from fastconv.nn import Flatten
        >>> loss, accuracy = evaluate(Flatten(), np.eye(3)[:, :, None, None] * 9, np.arange(3))
        >>> accuracy
        1.0
    """
    _layer("evaluate", model)
    batch_size = integer("evaluate", "batch_size", batch_size, 1)
    return _evaluate("evaluate", "labels", model, *_pair("evaluate", "(x, labels)", (x, labels)), batch_size)


def _computed(function: Callable, x: np.ndarray) -> Any:
    """function(x), of a model; an error about three axes says which one may be missing.

    An image of one channel is taken by a convolution, as one without a batch, and refused by a layer behind it.
    """
    try:
        return function(x)
    except ShapeError as error:
        if x.ndim == 3 and GREY not in str(error):
            error.args = (f"{error}{GREY}",)
        raise


def _evaluate(
    where: str, name: str, model: Layer, x: np.ndarray, labels: np.ndarray, batch_size: int = EVALUATION_BATCH
) -> tuple[float, float]:
    loss, right = 0.0, 0
    for images, wanted in minibatches(x, labels, batch_size):
        logits = _computed(model, images)
        loss += cross_entropy_of(where, name, logits, wanted)[0] * len(images)
        ids = wanted if wanted.ndim == 1 else wanted.argmax(axis=1)
        right += int(np.count_nonzero(logits.argmax(axis=1) == ids))
    return loss / len(x), right / len(x)


def predict(model: Layer, x: np.ndarray, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
    """The probabilities of the classes: softmax of the model's logits.

    The last bits of an image's probabilities may depend on how many images are computed at a time, where that is fewer
    than 8: `batch_size`, or what is left for the last batch; see `Sequential`.

    Args:
        model: any layer whose result is logits (N, K).
        x: (N, ...).
        batch_size: images at a time.

    Returns:
        (N, K), each row summing to 1.

    Raises:
        ValueError: sizes do not fit.

    Example:
        >>> from fastconv.nn import Flatten
        >>> predict(Flatten(), np.zeros((1, 2, 1, 1)))
        array([[0.5, 0.5]])
    """
    _layer("predict", model)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"predict: x must be a NumPy array, got {type(x).__name__}")
    if x.ndim < 2:
        raise ShapeError(f"predict: x must be a batch (N, ...), got shape {x.shape}")
    batch_size = integer("predict", "batch_size", batch_size, 1)
    parts = [F.softmax(_computed(model, images)) for images, _ in minibatches(x, np.arange(len(x)), batch_size)]
    return np.concatenate(parts) if parts else F.softmax(_computed(model, x))


def _length(value: Any) -> str:
    return f" of {len(value)}" if isinstance(value, tuple | list) else ""


def _layer(where: str, model: Any) -> None:
    if not isinstance(model, Layer):
        raise TypeError(f"{where}: model must be a Layer, got {type(model).__name__}")


def _kinds(where: str, model: Any, optimizer: Any) -> None:
    """Raise a TypeError unless there are a model and an optimiser."""
    _layer(where, model)
    if not all(hasattr(optimizer, name) for name in ("parameters", "zero_grad", "step")) or optimizer is model:
        raise TypeError(
            f"{where}: optimizer must be an optimiser of the model's parameters, as SGD(model.parameters(), 0.05), "
            f"got {type(optimizer).__name__}"
        )


def _trains(where: str, model: Layer, optimizer: Optimizer) -> None:
    """Raise a ValueError unless the optimiser has parameters of the model, some or all, and no others."""
    own = {id(parameter) for parameter in model.parameters()}
    held = list(optimizer.parameters)
    foreign = sum(id(parameter) not in own for parameter in held)
    if foreign:
        raise ValueError(
            f"{where}: optimizer has {foreign} of {len(held)} parameters that are not the model's; "
            f"make it of the model's parameters, as SGD(model.parameters(), 0.05)"
        )
    if not any(parameter.trainable for parameter in held):
        raise ValueError(
            f"{where}: optimizer must have at least one trainable parameter of the model, "
            f"got {len(held)} parameters, none trainable"
        )


def _pair(where: str, name: str, value: Any) -> Pair:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{where}: {name} must be a pair (x, labels), got {type(value).__name__}{_length(value)}")
    x, labels = value
    if not isinstance(x, np.ndarray) or not isinstance(labels, np.ndarray):
        raise TypeError(f"{where}: x and labels must be NumPy arrays")
    if x.ndim < 2 or labels.ndim not in (1, 2) or len(x) != len(labels):
        raise ShapeError(f"{where}: labels must be (N,) or (N, K) for the N of x, got {labels.shape} and {x.shape}")
    if len(x) == 0:
        raise ShapeError(f"{where}: {name} has no samples")
    return x, labels
