"""What a training prints: in fastconv's own way, or in those of well-known tutorials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastconv._runtime.threads import get_num_threads
from fastconv.nn import Sequential
from fastconv.training import Run

EVERY = 100  # batches between two lines of PyTorch's style


@dataclass(frozen=True)
class LogStyle:
    """Texts to print, empty where there is nothing to say.

    Attributes:
        start: from the model and the shape of a batch, before the first step.
        step: from the run and the number of images in an epoch, after every step.
        epoch: from the row of the history, after every epoch.
    """

    start: Callable[[Sequential, tuple[int, ...]], str]
    step: Callable[[Run, int], str]
    epoch: Callable[[dict[str, Any]], str]


def _nothing(*_: Any) -> str:
    return ""


def _full_epoch(row: dict[str, Any]) -> str:
    return (
        f"epoch {row['epoch']:>3}: train loss {row['train_loss']:.4f}, test loss {row['test_loss']:.4f}, "
        f"test accuracy {row['test_accuracy']:.2%}, {row['images_per_second']:,.0f} images/s"
    )


def _numpy_epoch(row: dict[str, Any]) -> str:
    return "epoch {epoch} , loss:{train_loss:f} accuracy :{test_accuracy:f}".format(**row)


def _device_and_model(model: Sequential, shape: tuple[int, ...]) -> str:
    return f"device: cpu, {get_num_threads()} threads\n{model.summary(shape)}"


def _loss_line(run: Run, images: int) -> str:
    position = run.position
    if position.step % EVERY != 1:
        return ""
    return f"loss: {run.loss:f}  [{position.images:>{len(str(images))}}/{images}]"


def _test_line(row: dict[str, Any]) -> str:
    return "epoch {epoch}: test accuracy: {test_accuracy:.1%}, mean loss: {test_loss:f}".format(**row)


STYLES = {
    "fastconv": LogStyle(_nothing, _nothing, _full_epoch),
    "numpy": LogStyle(_nothing, _nothing, _numpy_epoch),
    "pytorch": LogStyle(_device_and_model, _loss_line, _test_line),
}
