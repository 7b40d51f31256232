"""Checkpoints: a model's weights, and what is needed to go on training to the same bits, in one npz file.

Nothing in the file is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv.data.files import written_atomically
from fastconv.data.reading import damage, read_npz
from fastconv.errors import DataError
from fastconv.history import History
from fastconv.models import MODELS, SIZED, model_for
from fastconv.nn import Sequential
from fastconv.optim import OPTIMIZERS, SCHEDULES
from fastconv.training import Position

_MARK = "fastconv-checkpoint-1"
_WANTED = "a fastconv checkpoint"
_LARGEST_PICTURE = 1 << 26  # pixels


@dataclass
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        model: the model's `state_dict`.
        optimizer: the optimiser's `state_dict`, empty where only weights were saved.
        settings: how the run was started, JSON values by name.
        history: the epochs so far.
        position: where the run stands.
    """

    model: dict[str, np.ndarray]
    optimizer: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    position: Position = field(default_factory=Position)


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(f"{folder}/a.npz", Checkpoint({"0.weight": np.ones(2)}))
        ...     load_checkpoint(f"{folder}/a.npz").model
        {'0.weight': array([1., 1.])}
    """
    facts = {
        "mark": _MARK,
        "settings": checkpoint.settings,
        "history": checkpoint.history.rows,
        "position": dataclasses.asdict(checkpoint.position),
    }
    arrays = {f"model/{name}": value for name, value in checkpoint.model.items()}
    arrays |= {f"optimizer/{name}": np.asarray(value) for name, value in checkpoint.optimizer.items()}
    with written_atomically(path) as file:
        np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)


def load_checkpoint(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Args:
        path: the file.
        max_bytes: how many bytes it may unpack to; by default 1 GiB, or its own size if that is more.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is not a checkpoint, or damaged, or unpacks to more.
    """
    return checkpoint_of(path, read_npz("load_checkpoint", path, _WANTED, max_bytes))


def checkpoint_of(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> Checkpoint:
    """The checkpoint that the arrays of a file are, a DataError if they are none."""
    if "facts" not in arrays:
        raise DataError(f"{path}: is not {_WANTED}: it is an npz file of other arrays, which load_weights reads")
    with damage(path, _WANTED):
        facts = json.loads(str(arrays["facts"]))
        if facts["mark"] != _MARK:
            raise DataError(f"{path}: is a checkpoint of another version, {facts['mark']!r}, {_MARK!r} was needed")
        settings, rows, position = facts["settings"], facts["history"], Position(**facts["position"])
        if not isinstance(settings, dict):
            raise ValueError(f"its settings are a {type(settings).__name__}, an object was needed")
        if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
            raise ValueError("its history is no list of objects")
        if not (_is_integer(position.epoch) and _is_integer(position.step) and _is_integer(position.images)):
            raise ValueError("its position is not in whole numbers")
        if not (_is_real(position.loss) and _is_real(position.seconds)):
            raise ValueError("its position is not in numbers")
        return Checkpoint(_below(arrays, "model/"), _below(arrays, "optimizer/"), settings, History(rows), position)


def _below(arrays: Mapping[str, np.ndarray], start: str) -> dict[str, Any]:
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


def _is_integer(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value < 1 << 63


def _is_real(value: Any) -> bool:
    return type(value) in (int, float)


def _rate(value: Any) -> bool:
    return value is None or (_is_real(value) and 0 <= value < math.inf)


def _images(value: Any) -> bool:
    image = isinstance(value, list) and len(value) == 3 and all(_is_integer(size, 1) for size in value)
    return image and _pixels(value) <= _LARGEST_PICTURE


def _pixels(shape: list[int]) -> int:
    return shape[1] * shape[2]


# what the settings of a run may be; a file may say anything
_SETTINGS: dict[str, Callable[[Any], bool]] = {
    "model": lambda value: value in list(MODELS), "data": lambda value: isinstance(value, str),
    "dtype": lambda value: value in ("float32", "float64"), "seed": _is_integer, "shape": _images,
    "classes": lambda value: _is_integer(value, 1), "epochs": lambda value: value is None or _is_integer(value),
    "batch_size": lambda value: _is_integer(value, 1), "lr": _rate, "momentum": _rate, "clip_norm": _rate,
    "clip_value": _rate, "optimizer": lambda value: value in list(OPTIMIZERS),
    "schedule": lambda value: value in list(SCHEDULES),
}  # fmt: skip


def check_settings(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Raise a DataError unless the settings of a checkpoint are what a run can have, and of its own weights' sizes."""
    settings = checkpoint.settings
    axes = {size for array in checkpoint.model.values() for size in np.shape(array)}
    for name, fits in _SETTINGS.items():
        if name in settings and not fits(settings[name]):
            raise DataError(f"{path}: is damaged: no run has the setting {name} = {settings[name]!r:.60}")
    for name, size in (("classes", settings.get("classes")), ("shape", settings.get("shape", [None])[0])):
        # found before a model of that size is made; a linear layer has a number for each four pixels, or more
        larger = name == "shape" and settings.get("model") in SIZED and _pixels(settings[name]) > 4 * max(axes)
        if size is not None and (size not in axes or larger):
            raise DataError(f"{path}: is damaged: its weights do not have the setting {name} = {settings[name]!r}")


def restore(path: str | os.PathLike[str], checkpoint: Checkpoint, name: str, model: Sequential) -> None:
    """Give a model the weights of a checkpoint, or raise a DataError that says which model they do not fit."""
    with damage(path, f"a checkpoint of {name}"):
        for array in checkpoint.model.values():
            if array.dtype.kind not in "biuf":
                raise ValueError(f"it holds {array.dtype}, numbers were needed")
        model.load_state_dict(checkpoint.model)


def build_model(settings: Mapping[str, Any]) -> Sequential:
    """A new model as the settings of a run describe it.

    Args:
        settings: `model`, a name of `fastconv.models.MODELS`, and `classes`, `shape`, `seed` and `dtype`.

    Raises:
        DataError: there is no model of that name.
    """
    if settings.get("model") not in list(MODELS):  # a list compares with anything
        raise DataError(f"the checkpoint names a model {settings.get('model')!r}, which does not exist")
    return model_for(
        settings["model"], tuple(settings["shape"]), num_classes=settings["classes"], rng=settings["seed"],
        dtype=np.dtype(settings["dtype"]),
    )  # fmt: skip


def load_model(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> tuple[Sequential, Checkpoint]:
    """The whole model of a checkpoint that `fastconv train --save` wrote, with its weights, and the checkpoint.

    Args:
        path: the file.
        max_bytes: how many bytes it may unpack to; by default 1 GiB, or its own size if that is more.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is not such a checkpoint, or damaged, or unpacks to more.
    """
    checkpoint = load_checkpoint(path, max_bytes=max_bytes)
    settings = checkpoint.settings
    if not {"classes", "shape", "model", "dtype", "seed", "data"} <= settings.keys():
        raise DataError(f"{path}: holds no settings of a model; it must come from fastconv train --save")
    check_settings(path, checkpoint)
    model = build_model(settings)
    restore(path, checkpoint, settings["model"], model)
    with damage(path, f"a checkpoint of {settings['model']}"):
        model.output_shape((1, *settings["shape"]))
    return model, checkpoint
