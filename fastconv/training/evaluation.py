"""A trained model's loss, accuracy and probabilities."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F
from fastconv._arguments.sizes import integer
from fastconv.data import minibatches
from fastconv.errors import ShapeError
from fastconv.functional.loss import cross_entropy_of
from fastconv.nn import Layer
from fastconv.training.arguments import check_model, pair_of, with_hint

EVALUATION_BATCH = 256


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
    check_model("evaluate", model)
    batch_size = integer("evaluate", "batch_size", batch_size, 1)
    return loss_and_accuracy("evaluate", "labels", model, *pair_of("evaluate", "(x, labels)", (x, labels)), batch_size)


def loss_and_accuracy(
    where: str, name: str, model: Layer, x: np.ndarray, labels: np.ndarray, batch_size: int = EVALUATION_BATCH
) -> tuple[float, float]:
    """The mean cross-entropy and the accuracy; `name` is what an error about the labels calls them."""
    loss, right = 0.0, 0
    for images, wanted in minibatches(x, labels, batch_size):
        logits = with_hint(model, images)
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
    check_model("predict", model)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"predict: x must be a NumPy array, got {type(x).__name__}")
    if x.ndim < 2:
        raise ShapeError(f"predict: x must be a batch (N, ...), got shape {x.shape}")
    batch_size = integer("predict", "batch_size", batch_size, 1)
    parts = [F.softmax(with_hint(model, images)) for images, _ in minibatches(x, np.arange(len(x)), batch_size)]
    return np.concatenate(parts) if parts else F.softmax(with_hint(model, x))
