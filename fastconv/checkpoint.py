"""Checkpoints: a model's weights, and what is needed to go on training to the same bits, in one npz file.

Nothing in the file is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._files import written_whole
from fastconv.errors import DataError
from fastconv.history import History
from fastconv.models import MODELS
from fastconv.nn import Sequential
from fastconv.training import Position

_MARK = "fastconv-checkpoint-1"
# what NumPy and zipfile raise for files that are something else, or damaged
NPZ_ERRORS = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, EOFError, AttributeError, RuntimeError
)  # fmt: skip


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
    with written_whole(path) as file:
        np.savez(file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is not a checkpoint, or damaged.
    """
    try:
        # read here, because NumPy leaves a damaged file open
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays.pop("facts")))
        if facts["mark"] != _MARK:
            raise DataError(f"{path}: is a checkpoint of another version, {facts['mark']!r}, {_MARK!r} was needed")
        return Checkpoint(
            {name.removeprefix("model/"): v for name, v in arrays.items() if name.startswith("model/")},
            {name.removeprefix("optimizer/"): v for name, v in arrays.items() if name.startswith("optimizer/")},
            facts["settings"],
            History(facts["history"]),
            Position(**facts["position"]),
        )
    except NPZ_ERRORS as error:
        raise DataError(f"{path}: is not a fastconv checkpoint, or is damaged ({error})") from error


def build_model(settings: Mapping[str, Any]) -> Sequential:
    """A new model as the settings of a run describe it.

    Args:
        settings: `model`, a name of `fastconv.models.MODELS`, and `classes`, `shape`, `seed` and `dtype`.

    Raises:
        DataError: there is no model of that name.
    """
    if settings.get("model") not in MODELS:
        raise DataError(f"the checkpoint names a model {settings.get('model')!r}, which does not exist")
    return MODELS[settings["model"]](
        num_classes=settings["classes"], in_channels=settings["shape"][0], rng=settings["seed"],
        dtype=np.dtype(settings["dtype"]),
    )  # fmt: skip


def load_model(path: str | os.PathLike[str]) -> tuple[Sequential, Checkpoint]:
    """The whole model of a checkpoint that `fastconv train --save` wrote, with its weights, and the checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is not such a checkpoint, or damaged.
    """
    checkpoint = load_checkpoint(path)
    if not {"classes", "shape", "model", "dtype", "seed", "data"} <= checkpoint.settings.keys():
        raise DataError(f"{path}: holds no settings of a model; it must come from fastconv train --save")
    model = build_model(checkpoint.settings)
    model.load_state_dict(checkpoint.model)
    return model, checkpoint
